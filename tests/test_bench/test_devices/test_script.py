"""Scripted harnesses as devices launch them: real processes, real endings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from manifests import manifest_of, put_probe

from care_mobile.answers import tensor_bytes
from care_mobile.bench.checking import judge_of
from care_mobile.bench.devices.functional import SETTINGS
from care_mobile.bench.devices.process import Limits
from care_mobile.bench.devices.script import ScriptDevice
from care_mobile.bench.devices.station import Flight
from care_mobile.bench.planning import CellRequest
from care_mobile.bench.planning import make_plan as make_session_plan
from care_mobile.bench.protocol.events import Block, Checked
from care_mobile.bench.protocol.plan import Burst
from care_mobile.bench.protocol.reading import MAX_ROUND_BYTES, ProtocolError, read_round
from care_mobile.bench.protocol.record import RecordKind, RoundStatus
from care_mobile.bundle import Bundle, write_manifest, writing
from care_mobile.errors import UsageError

from ..test_harness.scripts import LAUNCH, make_plan

PLAN = make_plan(rounds=2, blocks=2, burst=Burst(min_iterations=4, max_iterations=4))
LIMITS = Limits(seconds=60.0, silent_seconds=20.0)


def device(tmp_path: Path, limits: Limits = LIMITS, **script: Any) -> ScriptDevice:
    file = tmp_path / "script.json"
    file.write_text(json.dumps(script))
    return ScriptDevice(file, limits)


def fly(found: ScriptDevice, number: int = 0) -> Iterator[tuple[Flight, str | None, int]]:
    """How a round went: the flight, what is wrong with its file, and its blocks."""
    with found.open(PLAN, {}) as station:
        flight = station.launch(PLAN.rounds[number], LAUNCH, lambda file: None)
        wrong, blocks = None, 0
        if flight.file is not None:
            try:
                events = read_round(flight.file, PLAN, PLAN.rounds[number], LAUNCH).events
                blocks = sum(isinstance(event, Block) for event in events)
            except ProtocolError as error:
                wrong = error.code
        yield flight, wrong, blocks


def one(found: ScriptDevice, number: int = 0) -> tuple[Flight, str | None, int]:
    (result,) = fly(found, number)
    return result


def test_a_script_runs_in_a_process_and_is_typed_as_one(tmp_path: Path) -> None:
    found = device(tmp_path, latencies_ns={"a": [1000]})
    assert (found.kind, found.reference.serial) == (RecordKind.SCRIPTED, "script.json")
    flight, wrong, blocks = one(found)
    assert (flight.status, flight.exit_code, wrong, blocks) == (RoundStatus.COMPLETED, 0, None, 2)


@pytest.mark.parametrize(
    ("kind", "block", "status", "code", "blocks"),
    [
        ("crash", None, RoundStatus.CRASHED, "sigabrt", 0),
        ("crash", 1, RoundStatus.CRASHED, "sigabrt", 1),
        ("disconnect", None, RoundStatus.LOST, "disconnected", 0),
        ("disconnect", 1, RoundStatus.LOST, "disconnected", 1),
        ("storage-full", 1, RoundStatus.CRASHED, "exit-74", 1),
        ("no-file", None, RoundStatus.INVALID, "no-file", 0),
        ("lingers", None, RoundStatus.COMPLETED, "never-exited", 2),
        ("forks", 1, RoundStatus.COMPLETED, None, 2),
        ("chatter", 1, RoundStatus.COMPLETED, None, 2),
    ],
)
def test_what_is_wrong_with_a_harness_ends_typed(
    tmp_path: Path, kind: str, block: int | None, status: RoundStatus, code: str, blocks: int
) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    fault = {"kind": kind, "round": 1, "block": block}
    flight, wrong, found = one(device(tmp_path, faults=[fault]), 1)
    assert (flight.status, flight.code, wrong, found) == (status, code, None, blocks)
    after = {p.pid for p in psutil.Process().children(recursive=True)}
    assert len(after - before) <= 1  # the janitor


@pytest.mark.parametrize(
    ("kind", "block", "wrong"),
    [
        ("stale", None, "stale"),
        ("garbled", None, "garbled"),
        ("duplicate", None, "out-of-order"),
        ("duplicate", 1, "out-of-order"),
        ("nan", 1, "garbled"),
        ("huge", 1, "too-large"),
    ],
)
def test_what_is_wrong_with_its_file_is_found(
    tmp_path: Path, kind: str, block: int | None, wrong: str
) -> None:
    fault = {"kind": kind, "round": 0, "block": block}
    flight, found, _ = one(device(tmp_path, faults=[fault]))
    if flight.code is None:
        assert (flight.status, found) == (RoundStatus.COMPLETED, wrong)
    else:  # seen while it was written
        assert (flight.status, flight.code) == (RoundStatus.INVALID, wrong)


@pytest.mark.parametrize("block", [None, 1])
def test_a_harness_that_hangs_is_ended(tmp_path: Path, block: int | None) -> None:
    limits = Limits(seconds=60.0, silent_seconds=4.0)
    fault = {"kind": "hang", "round": 0, "block": block}
    flight, wrong, blocks = one(device(tmp_path, limits, faults=[fault]))
    assert (flight.status, flight.code, wrong) == (RoundStatus.TIMED_OUT, "silent", None)
    assert blocks == (0 if block is None else 1)


def test_a_fault_is_of_its_round_alone(tmp_path: Path) -> None:
    flight, _, blocks = one(device(tmp_path, faults=[{"kind": "crash", "round": 1}]), 0)
    assert (flight.status, blocks) == (RoundStatus.COMPLETED, 2)


def test_a_file_larger_than_any_may_be_takes_no_disk(tmp_path: Path) -> None:
    found = device(tmp_path, faults=[{"kind": "huge", "round": 0}])
    with found.open(PLAN, {}) as station:
        flight = station.launch(PLAN.rounds[0], LAUNCH, lambda file: None)
        assert flight.file is not None
        stat = flight.file.stat()
        assert stat.st_size > MAX_ROUND_BYTES > stat.st_blocks * 512


def test_a_script_is_checked_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text('{"default_ns": []}')
    with pytest.raises(UsageError, match="default_ns"):
        ScriptDevice(file)


def test_names_that_are_of_no_cell_are_told(tmp_path: Path) -> None:
    found = device(
        tmp_path,
        latencies_ns={"A": [1000], "nobody": [1000], "*": [1000]},
        world=[{"kind": "cell-fails", "cell": "no-one"}, {"kind": "cell-fails", "cell": "b"}],
    )
    assert found.check(PLAN) == (
        "the script is about 'no-one', which is no cell",
        "the script is about 'nobody', which is no cell",
    )


def probed(folder: Path, stride: int = 1) -> Path:
    """A bundle whose reference's answers are stored, whole or every `stride`-th element."""
    path = folder / "probed"
    with writing(path) as partial:
        (partial / "model.onnx").write_bytes(b"no model")
        image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
        probe = put_probe(partial, inputs={"image": image}, outputs={"logits": image})
        if stride > 1:
            (tensor,) = probe.outputs
            stored = image.reshape(-1)[::stride]
            (partial / tensor.file).write_bytes(tensor_bytes(stored))
            sampled = tensor.model_copy(update={"stride": stride})
            probe = probe.model_copy(update={"outputs": (sampled,)})
        write_manifest(partial, manifest_of(partial, probes=(probe,)))
    return path


@pytest.mark.parametrize(("stride", "most"), [(1, 65_536), (1, 50), (5, 65_536), (5, 50)])
def test_answers_are_right_until_the_script_says_otherwise(
    tmp_path: Path, stride: int, most: int
) -> None:
    path = probed(tmp_path, stride)
    bundle = Bundle.open(path)
    wrong = [{"kind": "wrong-answers", "round": 1, "cell": "probed"}]
    found = device(tmp_path, world=wrong)
    settings = replace(SETTINGS, rounds=2)
    request = CellRequest(path, bundle, found.engine(bundle))
    planned = make_session_plan(
        [request], settings, session="s", created="2026-11-26T12:00:00Z", seed=0, scratch=tmp_path
    )
    plan = planned.plan.model_copy(update={"answer_elements": most})
    assert found.check(plan) == ()
    judge = judge_of(plan, planned.requests)
    judged = []
    with found.open(plan, planned.files) as station:
        for launched in plan.rounds:
            flight = station.launch(launched, LAUNCH, lambda file: None)
            assert flight.file is not None
            events = read_round(flight.file, plan, launched, LAUNCH).events
            checks = [judge(launched.number, e)[1] for e in events if isinstance(e, Checked)]
            judged.append([check is not None and check.passed for check in checks])
    assert judged == [[True, True], [False, False]]


def test_a_hot_device_is_seen_between_rounds_and_rest_takes_no_time(tmp_path: Path) -> None:
    hot = {"kind": "throttle", "round": 1, "block": 1, "last_round": 1}
    with device(tmp_path, world=[hot]).open(PLAN, {}) as station:
        states = []
        for planned in PLAN.rounds:
            states += [reading.state for reading in station.look()]
            station.rest(10**15)
            station.launch(planned, LAUNCH, lambda file: None)
        states += [reading.state for reading in station.look()]
    assert states == ["nominal", "nominal", "severe"]
