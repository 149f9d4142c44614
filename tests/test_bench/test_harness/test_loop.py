"""Rounds on a clock of our own; every file is read as the host reads it."""

from __future__ import annotations

import gc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.bench.harness import room as room_of_a_file
from care_mobile.bench.harness.room import MOST, Room
from care_mobile.bench.harness.tools import CellFailure
from care_mobile.bench.protocol.events import (
    Block,
    Checked,
    Failed,
    Note,
    PacedRun,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import Burst, Gate, Paced, Phase, Plan, Round, Sustained
from care_mobile.bench.protocol.reading import RoundFile
from care_mobile.errors import OutputError, RuntimeFailure

from .conftest import ALL_PHASES, Bench, cell, kinds, of
from .played import TICK_NS, Stage

MORE: dict[str, Any] = {
    "burst": Burst(target_ns=10_000, min_iterations=2, max_iterations=20, pause_ns=500),
    "paced": Paced(interval_ns=5_000_000, count=3),
    "sustained": Sustained(duration_ns=2_500_000_000),
}


def plan_of(bench: Bench, cells: int = 2, **changes: Any) -> Plan:
    probe = bench.probe(np.zeros(1, np.uint8))
    unjudged = bench.probe(np.zeros(1, np.uint8), "only-fed", judged=False)
    many = tuple(cell(f"c{i}", probes=(unjudged, probe)) for i in range(cells))
    phases = changes.pop("phases", ALL_PHASES)
    everyone = tuple(range(cells))
    blocks = (everyone, everyone[::-1]) if Phase.BURST in phases else ()
    one = Round(number=0, replicate=0, cells=everyone[::-1], blocks=blocks, phases=phases)
    return bench.plan(*many, rounds=(one,), **{**MORE, **changes})


def play(bench: Bench, plan: Plan, stage: Stage) -> RoundFile:
    return stage.play(plan, bench.folder / "round.jsonl")


def test_the_order_of_a_round(bench: Bench) -> None:
    found = play(bench, plan_of(bench), Stage(lambda cell, i: 500_000_000))
    assert kinds(found) == [
        "hello", "control",
        "loaded", "note", "checked", "loaded", "note", "checked",
        "warm", "warm", "block", "block", "paced", "paced",
        *["sustained"] * 6, "checked", "checked", "end",
    ]  # fmt: skip
    assert [(e.cell, e.probe, e.moment) for e in of(Checked, found)] == [
        (1, "photo", "before"), (0, "photo", "before"),
        (1, "photo", "after"), (0, "photo", "after"),
    ]  # fmt: skip
    assert [(n.code, n.detail, n.cell) for n in of(Note, found)] == [
        ("told", "of cell 1", 1),
        ("told", "of cell 0", 0),
    ]
    assert [e.cell for e in of(Warm, found)] == [1, 0]
    assert [[b.cell for b in block.bursts] for block in of(Block, found)] == [[0, 1], [1, 0]]
    assert [e.cell for e in of(PacedRun, found)] == [1, 0]


def test_bursts_fit_their_time(bench: Bench) -> None:
    stage = Stage()
    found = play(bench, plan_of(bench, phases=(Phase.BURST,)), stage)
    for warm in of(Warm, found):
        latency_ns = 1000 * (warm.cell + 1) + TICK_NS
        assert (warm.first_ns, warm.latency_ns, warm.iterations) == (latency_ns, latency_ns, 4)
    for block in of(Block, found):
        for burst in block.bursts:
            assert len(burst.samples_ns) == 10_000 // (1000 * (burst.cell + 1) + 10)
            assert set(burst.samples_ns) == {1000 * (burst.cell + 1) + 10}
            assert burst.cpu_ns is not None
            assert burst.cpu_ns >= sum(burst.samples_ns)
    assert stage.sleeps == [500] * 4


def test_taking_turns(bench: Bench) -> None:
    stage = Stage()
    burst = MORE["burst"].model_copy(update={"mode": "single"})
    found = play(bench, plan_of(bench, burst=burst, phases=(Phase.BURST,)), stage)
    warm = [1] * 4 + [0] * 4
    assert stage.calls == warm + [0, 1] * 4 + [1, 0] * 4
    for block in of(Block, found):
        assert [len(b.samples_ns) for b in block.bursts] == [4, 4]
        for b in block.bursts:
            assert set(b.samples_ns) == {1000 * (b.cell + 1) + 10}
            assert b.cpu_ns is not None
            assert 0 <= b.cpu_ns - sum(b.samples_ns) <= 4 * 40
    assert stage.sleeps == [500] * 2
    assert stage.entered[2:] == [0, 1] * 4 + [1, 0] * 4


def test_a_cell_enters_before_it_runs(bench: Bench) -> None:
    stage = Stage(lambda cell, i: 500_000_000)
    play(bench, plan_of(bench), stage)
    assert stage.entered == [1, 0, 0, 1, 1, 0, 1, 0, *[1] * 3, *[0] * 3]


def test_no_collection_in_a_burst(bench: Bench) -> None:
    collecting = []

    def latency(cell: int, i: int) -> int:
        collecting.append(gc.isenabled())
        return 1000

    play(bench, plan_of(bench), Stage(latency))
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert not any(collecting)


def test_blocks_that_are_hot_are_tried_again(bench: Bench) -> None:
    states = ["nominal", "light", "severe", "nominal", "nominal", "nominal", "unknown", "unknown"]
    stage = Stage(thermal=states)
    plan = plan_of(bench, phases=(Phase.BURST,), gate=Gate(control_ns=1, retries=2))
    blocks = of(Block, play(bench, plan, stage))
    assert [(b.block, b.attempt, b.rejected and b.rejected.code) for b in blocks] == [
        (0, 0, "thermal"), (0, 1, "thermal"), (0, 2, None), (1, 0, None),
    ]  # fmt: skip


def test_a_slot_is_given_up(bench: Bench) -> None:
    def speed(run: int) -> int:
        """Calibration runs thrice, and so does each time: after a block it is slower."""
        return 1 + (run // 3) % 2

    plan = plan_of(bench, phases=(Phase.BURST,), gate=Gate(control_ns=1, retries=1))
    stage = Stage(control_ns=speed)
    blocks = of(Block, play(bench, plan, stage))
    assert [(b.block, b.attempt) for b in blocks] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {b.rejected.code for b in blocks} == {"control-drift"}
    assert {len(b.bursts[0].samples_ns) for b in blocks} <= {4, 9}


def test_paced_keeps_its_schedule(bench: Bench) -> None:
    def latency(cell: int, i: int) -> int:
        return 7_000_000 if i == 4 else 1_000_000  # the first after the warm-up

    stage = Stage(latency)
    plan = plan_of(bench, 1, phases=(Phase.PACED,))
    (run,) = of(PacedRun, play(bench, plan, stage))
    assert run.samples_ns == (7_000_010, 1_000_010, 1_000_010)
    assert len(run.late_ns) == 3
    assert run.late_ns[0] < 100
    assert 2_000_000 < run.late_ns[1] < 2_000_200
    assert run.late_ns[2] < 100  # the late one has moved nothing
    assert sum(run.samples_ns) <= run.cpu_ns < sum(run.samples_ns) + 1000


@pytest.mark.parametrize(
    ("latency_ns", "rules", "counts"),
    [
        (400_000_000, Sustained(duration_ns=2_000_000_000), [3, 2]),
        (400_000_000, Sustained(duration_ns=1, min_count=4), [3, 1]),
        (400_000_000, Sustained(duration_ns=0), [1]),
        (5_000, Sustained(duration_ns=600_000_000), [100_000, 19_700]),
    ],
)
def test_sustained_in_stretches(
    bench: Bench, latency_ns: int, rules: Sustained, counts: list[int]
) -> None:
    plan = plan_of(bench, 1, phases=(Phase.SUSTAINED,), sustained=rules)
    runs = of(SustainedRun, play(bench, plan, Stage(lambda cell, i: latency_ns)))
    assert [len(run.samples_ns) for run in runs] == pytest.approx(counts, rel=0.01)
    assert all(a.end_ns <= b.start_ns for a, b in pairwise(runs))
    assert sum(len(r.samples_ns) for r in runs) >= rules.min_count


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeFailure("refused\nin two lines"), "load-failed"),
        (CellFailure("no-engine", "there is none"), "no-engine"),
        (MemoryError(), "out-of-memory"),
        (ValueError("\x1b[2J" + "x" * 9000), "load-failed"),
        (SystemExit(0), "load-failed"),
    ],
)
def test_a_cell_that_cannot_be_loaded(bench: Bench, error: BaseException, code: str) -> None:
    stage = Stage()
    stage.load_failures = {1: error}
    found = play(bench, plan_of(bench), stage)
    (failed,) = of(Failed, found)
    assert (failed.cell, failed.code) == (1, code)
    assert failed.detail.isprintable()
    assert {b.cell for block in of(Block, found) for b in block.bursts} == {0}
    assert found.ended


def test_no_cell_is_left(bench: Bench) -> None:
    stage = Stage()
    stage.load_failures = {0: ValueError("a"), 1: ValueError("b")}
    found = play(bench, plan_of(bench), stage)
    assert kinds(found) == ["hello", "control", "failed", "failed", "end"]


def test_a_cell_without_answers(bench: Bench) -> None:
    stage = Stage()
    stage.answer_failures = {0: ValueError("no")}
    found = play(bench, plan_of(bench), stage)
    (failed,) = of(Failed, found)
    assert (failed.cell, failed.code, failed.detail) == (0, "inference-failed", "ValueError: no")


def test_more_outputs_than_an_event_holds(bench: Bench) -> None:
    stage = Stage()
    stage.outputs = 65
    found = play(bench, plan_of(bench), stage)
    assert [(f.cell, f.code) for f in of(Failed, found)] == [
        (1, "too-large"),
        (0, "too-large"),
    ]


def test_notes_of_any_length(bench: Bench) -> None:
    stage = Stage()
    stage.note = "a\n\x1b" * 5000
    found = play(bench, plan_of(bench), stage)
    assert {len(n.detail) for n in of(Note, found)} == {2000}
    assert all(n.detail.isprintable() for n in of(Note, found))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_fails_whenever(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """Any inference of any cell may fail: the file keeps the protocol, the others go on."""
    mode = data.draw(st.sampled_from(("bursts", "single")))
    fails_at = data.draw(st.lists(st.integers(0, 60), min_size=3, max_size=3))
    thermal = data.draw(st.lists(st.sampled_from(("nominal", "light")), max_size=10))

    def latency(cell: int, i: int) -> int:
        if i == fails_at[cell]:
            raise RuntimeFailure("it broke")
        return 200_000_000 + 1000 * cell

    folder = tmp_path_factory.mktemp("round")
    burst = MORE["burst"].model_copy(update={"mode": mode, "target_ns": 2 * 10**9})
    plan = plan_of(Bench(folder), 3, burst=burst)
    stage = Stage(latency, thermal)
    found = stage.play(plan, folder / "round.jsonl")
    assert found.ended
    told = [e.cell for e in of(Failed, found)]
    assert len(set(told)) == len(told)
    for i in range(3):
        ran = stage.calls.count(i)
        assert (i in told) == (ran == fails_at[i] + 1)
        assert ran <= fails_at[i] + 1


def test_a_file_that_cannot_be_written_ends_the_round(bench: Bench, tmp_path: Path) -> None:
    from care_mobile.bench.harness.loop import run_round
    from care_mobile.bench.harness.tools import Tools

    stage = Stage()
    plan = plan_of(bench)

    def full(kind: type, /, **fields: Any) -> None:
        raise OutputError("no space")

    tools = Tools(
        origin_ns=0, now_ns=stage.clock, sleep_ns=stage.sleep, cpu_ns=None,
        control=stage.control, look=stage.look, load=stage.load, emit=full,
    )  # fmt: skip
    with pytest.raises(OutputError):
        run_round(plan, plan.rounds[0], tools)
    assert gc.get_freeze_count() == 0


SOON = Sustained(duration_ns=30_000_000)


@pytest.mark.parametrize("mode", ["bursts", "single"])
@pytest.mark.parametrize("most_bytes", [30_000, 60_000, 120_000, 200_000, 10**6])
def test_a_file_that_would_grow_too_large(bench: Bench, mode: str, most_bytes: int) -> None:
    """Cells end where their lines no longer fit; the file is one that every reader takes."""
    burst = Burst(mode=mode, target_ns=10**7, min_iterations=2, max_iterations=4000)  # type: ignore[arg-type]
    room = Room(MOST._replace(bytes=most_bytes))
    file = bench.folder / "round.jsonl"
    found = Stage().play(plan_of(bench, burst=burst, sustained=SOON), file, room=room)
    assert found.ended
    assert file.stat().st_size <= most_bytes
    told = [(e.cell, e.code) for e in of(Failed, found)]
    assert len(told) == len(set(told))
    assert {code for _, code in told} <= {"too-large"}
    assert bool(told) == (most_bytes < 10**6)
    ends = {e.cell for e in of(Checked, found) if e.moment == "after"}
    assert ends == {0, 1} - {cell for cell, _ in told}


def test_a_line_that_would_be_too_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_of_a_file, "MAX_LINE_BYTES", 20_000)
    plan = plan_of(bench, sustained=SOON, phases=(Phase.SUSTAINED,))
    found = play(bench, plan, Stage(lambda cell, i: 1000 if cell else 1_000_000))
    assert [(e.cell, e.code) for e in of(Failed, found)] == [(1, "too-large")]
    assert [e.cell for e in of(SustainedRun, found)] == [0]
    assert found.ended
