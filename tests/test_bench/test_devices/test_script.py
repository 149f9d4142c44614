"""Scripted harnesses as devices launch them: real processes, real endings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from care_mobile.bench.devices.process import Limits
from care_mobile.bench.devices.script import ScriptDevice
from care_mobile.bench.devices.station import Flight
from care_mobile.bench.protocol.events import Block
from care_mobile.bench.protocol.plan import Burst
from care_mobile.bench.protocol.reading import MAX_ROUND_BYTES, ProtocolError, read_round
from care_mobile.bench.protocol.record import RecordKind, RoundStatus
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
