"""Whole sessions on this machine, with real processes, from request to record."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import WriteBundle

from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.plan import Role, Unit
from care_mobile.bench.protocol.reading import RecordError, read_session
from care_mobile.bench.protocol.record import RecordKind, RoundStatus
from care_mobile.bench.request import (
    InterruptedSessionError,
    MeasurementError,
    SessionOutcome,
    SessionRequest,
    resume_session,
    run_session,
)
from care_mobile.errors import BundleError, CareError, MissingDependencyError, UsageError

from .conftest import onnx_model

SOUND = SessionRequest(preset="quick", rounds=2, blocks=1, iterations=3)


@pytest.fixture
def request_(tmp_path: Path, write_bundle: WriteBundle) -> SessionRequest:
    """Two small bundles whose answers can be checked."""
    paths = [
        write_bundle(name, onnx_model(8, layers), probed=True)
        for name, layers in (("one", 1), ("two", 3))
    ]
    return replace(SOUND, bundles=tuple(paths), records=tmp_path / "records")


def run(request: SessionRequest, seen: list[Contract] | None = None) -> SessionOutcome:
    return run_session(request, (seen if seen is not None else []).append, waiting)


def waiting(holder: str) -> None:
    raise AssertionError(holder)


def test_every_round_loads_checks_warms_and_measures_every_cell(request_: SessionRequest) -> None:
    seen: list[Contract] = []
    outcome = run(request_, seen)
    outcome.check()
    session = outcome.session
    assert session.opened.kind is RecordKind.LATENCY
    assert session.missing() == ()
    assert session.closed is not None
    assert (session.closed.completed, session.closed.planned) == (2, 2)
    for found in session.rounds:
        assert found.hello is not None
        for cell in (0, 1):
            own = found.cells[cell]
            assert own.loaded is not None
            assert own.warm is not None
            assert {j.moment for j in own.judged} == {"before", "after"}
            assert all(j.passed for j in own.judged)
            assert all(a.data is None and a.sha256 for c in own.checked for a in c.answers)
        slots = {block.block for block in found.blocks}
        assert slots == {0}
        assert all(len(b.samples_ns) == 3 for block in found.blocks for b in block.bursts)
    words = [getattr(event, "event", "") for event in seen]
    assert words[0] == "session"
    assert words[-1] == "closed"
    assert words.count("launched") == words.count("landed") == words.count("end") == 2


def test_the_record_is_one_file_and_reads_as_it_was(request_: SessionRequest) -> None:
    outcome = run(request_)
    assert list(request_.records.iterdir()) == [outcome.file]
    assert outcome.file.name == f"{outcome.session.opened.session}.jsonl"
    assert read_session(outcome.file) == outcome.session


def test_bases_come_first_and_have_their_role(request_: SessionRequest) -> None:
    one, two = request_.bundles
    # A pattern that names the others names the base too.
    outcome = run(replace(request_, bundles=(one, two), bases=(one,), rounds=1))
    assert [(c.bundle.name, c.role) for c in outcome.session.plan.cells] == [
        ("one", Role.BASE),
        ("two", Role.HEAD),
    ]


def test_a_bundle_that_cannot_run_costs_only_itself(
    request_: SessionRequest, write_bundle: WriteBundle
) -> None:
    broken = write_bundle("broken", b"no model")
    outcome = run(replace(request_, bundles=(*request_.bundles, broken)))
    failed = [r.cells[2].failed for r in outcome.session.rounds]
    assert all(failed)
    assert [r.status for r in outcome.session.rounds] == [RoundStatus.COMPLETED] * 2
    with pytest.raises(MeasurementError, match="broken"):
        outcome.check()


def test_wrong_answers_are_no_measurement(
    request_: SessionRequest, write_bundle: WriteBundle
) -> None:
    from onnx import load_from_string

    model = load_from_string(onnx_model(8, 1))
    model.graph.node[0].op_type = "Neg"
    wrong = write_bundle("wrong", model.SerializeToString(), probed=True)
    outcome = run(replace(request_, bundles=(*request_.bundles, wrong)))
    judged = [j for r in outcome.session.rounds for j in r.cells[2].judged]
    assert judged
    assert not any(j.passed for j in judged)
    with pytest.raises(MeasurementError, match="wrong"):
        outcome.check()


HARNESS = f"{sys.executable} -m care_mobile.bench.harness"


def broken_in(tmp_path: Path, round_: int, body: str) -> str:
    """A harness that does something else in one of its rounds."""
    script = tmp_path / "broken.py"
    script.write_text(
        f"""
import os, signal, sys, time
number = int(sys.argv[sys.argv.index("--round") + 1])
if number == {round_}:
    {body}
os.execv(sys.executable, [sys.executable, "-m", "care_mobile.bench.harness", *sys.argv[1:]])
"""
    )
    return f"process={sys.executable} {script}"


def test_a_crash_costs_one_round_and_resume_makes_up_for_it(
    request_: SessionRequest, tmp_path: Path
) -> None:
    device = broken_in(tmp_path, 1, "os.abort()")
    request = replace(request_, device=device, rounds=3)
    outcome = run(request)
    assert [r.status for r in outcome.session.rounds] == [
        RoundStatus.COMPLETED,
        RoundStatus.CRASHED,
        RoundStatus.COMPLETED,
    ]
    assert outcome.session.rounds[1].code == "sigabrt"
    (tmp_path / "broken.py").write_text((tmp_path / "broken.py").read_text().replace("== 1", "< 0"))
    request = replace(request, given=frozenset({"device"}))
    again = resume_session(outcome.file, request, lambda event: None, waiting)
    assert again.session.missing() == ()
    assert [r.status for r in again.session.earlier] == [RoundStatus.CRASHED]
    assert again.session.rounds[0] == outcome.session.rounds[0]
    assert len(again.session.resumed) == 1


def test_an_interrupt_keeps_what_has_landed(request_: SessionRequest) -> None:
    request = replace(request_, rounds=4)

    def stop(event: Any) -> None:
        if getattr(event, "event", "") == "launched" and event.round == 2:
            raise KeyboardInterrupt

    outcome = run_session(request, stop, waiting)
    assert outcome.interrupted
    assert outcome.session.missing() == (2, 3)
    with pytest.raises(InterruptedSessionError, match="2 of 4") as stopped:
        outcome.check()
    words = shlex.split((stopped.value.hint or "").removesuffix(" goes on"))
    assert words[:3] == ["care-bench", "--resume", str(outcome.file)]
    assert words[3:] == [str(path) for path in request_.bundles], "a record says not where they lie"
    again = resume_session(outcome.file, request_, lambda event: None, waiting)
    assert again.session.missing() == ()
    assert again.session.rounds[:2] == outcome.session.rounds


def test_an_interrupt_before_anything_landed_leaves_nothing(request_: SessionRequest) -> None:
    def stop(event: Any) -> None:
        if getattr(event, "event", "") == "launched":
            raise KeyboardInterrupt

    with pytest.raises(InterruptedSessionError, match="nothing"):
        run_session(request_, stop, waiting)
    assert not request_.records.exists() or list(request_.records.iterdir()) == []


def test_a_device_that_never_works_is_given_up(request_: SessionRequest, tmp_path: Path) -> None:
    device = f"process={sys.executable} -c pass"
    outcome = run(replace(request_, device=device, rounds=10))
    assert len(outcome.session.rounds) == 3
    assert {r.code for r in outcome.session.rounds} == {"no-file"}
    with pytest.raises(MeasurementError, match="no file"):
        outcome.check()


def test_resume_finds_bundles_by_content(request_: SessionRequest, tmp_path: Path) -> None:
    device = broken_in(tmp_path, 0, "sys.exit(1)")
    outcome = run(replace(request_, device=device))
    request = replace(request_, device=device, given=frozenset({"device"}))
    with pytest.raises(UsageError, match="is not among those given"):
        resume_session(outcome.file, replace(request, bundles=request_.bundles[:1]), print, waiting)
    with pytest.raises(UsageError, match="not on desktop"):
        resume_session(outcome.file, replace(request_, given=frozenset({"device"})), print, waiting)
    moved = tmp_path / "elsewhere"
    request_.bundles[0].parent.rename(moved)
    resume_session(
        outcome.file, replace(request, bundles=(), output=moved), lambda e: None, waiting
    )


def test_threads_of_process_wide_pools_get_rounds_of_their_own(request_: SessionRequest) -> None:
    pytest.importorskip("executorch")
    from care_mobile.bench.harness.loading import ENGINES
    from care_mobile.bench.planning import SHARED_POOLS

    assert {name for name, kind in ENGINES.items() if kind.pool} == SHARED_POOLS & ENGINES.keys()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"bundles": (Path("nowhere"),)}, UsageError, "there is no folder nowhere"),
        ({"bundles": (), "output": Path("nowhere")}, UsageError, "there is no folder nowhere"),
        ({"rounds": 0}, UsageError, "--rounds 0"),
        ({"iterations": 10**9}, UsageError, "--iterations 1000000000"),
        ({"threads": (0,)}, UsageError, "--threads 0"),
        ({"threads": (1000,)}, UsageError, "1000 threads do not fit"),
        ({"affinity": (999,)}, UsageError, "no usable cpu 999"),
        ({"preset": "slow"}, UsageError, "unknown preset 'slow'"),
        ({"device": "toaster"}, UsageError, "unknown device 'toaster'"),
        ({"device": "process="}, UsageError, "needs its command"),
        ({"device": "process=/no/such"}, MissingDependencyError, "no program /no/such"),
        ({"units": (Unit.NPU,)}, UsageError, "not on the npu"),
        ({"preset": "mlperf", "given": frozenset({"blocks"})}, UsageError, "--blocks"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_requests_that_cannot_be_served(
    request_: SessionRequest, changes: dict[str, Any], error: type[CareError], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(replace(request_, **changes))
    assert not request_.records.exists() or list(request_.records.iterdir()) == []


def test_a_damaged_bundle_is_an_error(request_: SessionRequest) -> None:
    (request_.bundles[0] / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BundleError):
        run(request_)


def test_what_is_no_record_cannot_be_gone_on_with(request_: SessionRequest, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"event": "note"}) + "\n")
    for file in (tmp_path / "x.jsonl", tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(RecordError):
            resume_session(file, request_, print, waiting)
