"""The golden plans, which harnesses in other languages test with too."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from care_mobile.bench.conformance.cases import Case, all_cases
from care_mobile.bench.conformance.rules import RULES
from care_mobile.bench.protocol.plan import Phase

CASES = pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)


@CASES
def test_a_plan_is_valid_and_its_files_are_what_it_says(case: Case) -> None:
    listed = {file.path: file for file in case.read.files}
    contents = case.contents()
    assert contents.keys() <= listed.keys()
    for path, content in contents.items():
        assert sha256(content).hexdigest() == listed[path].sha256
        assert len(content) == listed[path].size_bytes
    assert case.proves in {*RULES, "refusals"}
    assert set(case.fails) <= set(case.planned.cells)


@CASES
def test_a_file_is_missing_only_where_a_cell_shall_fail(case: Case) -> None:
    given = case.contents()
    for index in case.planned.cells:
        inputs = [tensor for probe in case.read.cells[index].probes for tensor in probe.inputs]
        assert {tensor.path for tensor in inputs} <= given.keys() or index in case.fails


def test_the_plans_cover_what_a_plan_can_ask_for() -> None:
    plans = [case.read for case in all_cases()]
    phases = {phase for case in all_cases() for phase in case.planned.phases}
    assert phases == set(Phase)
    assert {plan.burst.mode for plan in plans} == {"bursts", "single"}
    assert {len(case.planned.cells) for case in all_cases()} >= {1, 2, 3}
    assert any(plan.gate.retries > 1 for plan in plans)
    assert {plan.gate.control_drift_permille for plan in plans} >= {None, 0}
    assert any(plan.gate.control_iterations is None for plan in plans)
    assert any(case.planned.phases == () for case in all_cases())


def test_a_case_is_laid_out_as_it_is_written(tmp_path: Path) -> None:
    (case,) = (case for case in all_cases() if case.proves == "unknown-keys")
    plan = case.lay_out(tmp_path)
    assert json.loads(plan.read_text(encoding="utf-8")) == case.plan
    assert "later" in case.plan["gate"]
    assert (tmp_path / "probes/x.bin").read_bytes() == case.contents()["probes/x.bin"]
