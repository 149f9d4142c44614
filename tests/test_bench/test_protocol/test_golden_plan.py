"""The reference harness runs the golden plan, so that others can be tried with it too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from golden.protocol import recipe
from golden_files import FOLDER

from care_mobile.bench.protocol.arithmetic import control, control_text
from care_mobile.bench.protocol.events import Checked, Control
from care_mobile.bench.protocol.plan import Plan
from care_mobile.bench.protocol.reading import read_round

PLAN = FOLDER / "protocol" / "plan.json"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_round_of_the_golden_plan(number: int, tmp_path: Path) -> None:
    plan = Plan.model_validate_json(PLAN.read_bytes())
    (tmp_path / "plan.json").write_bytes(PLAN.read_bytes())
    ramp = tmp_path / plan.files[0].path
    ramp.parent.mkdir(parents=True)
    ramp.write_bytes(recipe.RAMP)
    output = tmp_path / f"round-{number}.jsonl"
    command = [sys.executable, "-m", "care_mobile.bench.harness", "--plan", tmp_path / "plan.json"]
    command += ["--round", str(number), "--launch", "here", "--output", output]
    subprocess.run(command, check=True, timeout=300, cwd=tmp_path)

    found = read_round(output, plan, plan.rounds[number], "here")
    assert found.ended and found.unknown == 0
    for event in found.events:
        if isinstance(event, Control):
            assert event.checksum == control_text(control(event.iterations))
    checked = [event for event in found.events if isinstance(event, Checked)]
    golden = recipe.whole().lines[3]["answers"][0]["data"]
    assert {event.answers[0].data for event in checked} == {golden}


def test_the_ramp_is_the_plans() -> None:
    import hashlib

    plan = Plan.model_validate_json(PLAN.read_bytes())
    assert plan.files[0].sha256 == hashlib.sha256(recipe.RAMP).hexdigest()
    assert plan.files[0].size_bytes == len(recipe.RAMP)
