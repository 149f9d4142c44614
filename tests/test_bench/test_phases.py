from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings

from care_mobile.bench.phases import (
    MLPERF_NS,
    cpu_share,
    loads,
    memory,
    pace,
    single_stream,
    spread,
    sustained,
    warm_ups,
)
from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import (
    Block,
    CellBurst,
    Loaded,
    PacedRun,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import LoadKind, Phase, Unit
from care_mobile.bench.protocol.record import Session
from care_mobile.bench.stats import latency, ratio

from .any_sessions import sessions
from .sessions import BASE_NS, cell_of, changing, plan_of, reading, session_of

ALL = (Phase.BURST, Phase.PACED, Phase.SUSTAINED)


def test_loads_of_different_kinds_are_not_mixed() -> None:
    kinds = (LoadKind.FIRST, LoadKind.CACHED, LoadKind.CACHED)
    plan = plan_of(1, rounds=3)
    rounds = tuple(
        found.model_copy(update={"load": kind})
        for found, kind in zip(plan.rounds, kinds, strict=True)
    )
    times = iter((900, 100, 300))
    edit = changing(Loaded, load_ns=lambda line: next(times))
    session = session_of(plan.model_copy(update={"rounds": rounds}), edit=edit)
    first, cached = loads(session, 0)
    assert (first.kind, cached.kind) == (LoadKind.FIRST, LoadKind.CACHED)
    assert (first.loading.median, first.loading.count, first.compiling) == (900, 1, None)
    assert (cached.loading.median, cached.loading.low, cached.loading.high) == (200, 100, 300)


def test_warm_ups() -> None:
    edit = changing(Warm, steady=lambda line: line.cell == 0)
    steady, capped = (warm_ups(session_of(edit=edit), cell) for cell in (0, 1))
    assert steady is not None and capped is not None
    assert (steady.rounds, steady.steady, capped.steady) == (5, 5, 0)
    assert steady.first_ns.median == 2 * BASE_NS


def test_a_pace_says_what_came_late_and_what_took_too_long() -> None:
    edit = changing(PacedRun, late_ns=(0, 3_000_000, 4_000_000, 0), interval_ns=33_333_333)
    session = session_of(
        plan_of(1, rounds=1, phases=ALL), lambda r, b, c: (10**6, 2 * 10**6, 40 * 10**6), edit=edit
    )
    found = pace(session, 0)
    assert found is not None
    assert (found.samples, found.median_ns) == (3, 2_000_000)
    assert found.late_share == 1 / 4
    assert found.overrun_share == 1 / 3
    untold = session_of(plan_of(1, rounds=1, phases=ALL), edit=changing(PacedRun, late_ns=()))
    found = pace(untold, 0)
    assert found is not None and found.late_share is None


def test_a_sustained_run_has_a_start_an_end_and_a_way_between() -> None:
    stretch = iter(range(10))

    def slower(line: SustainedRun) -> tuple[int, ...]:
        return (BASE_NS + BASE_NS * next(stretch) // 10,) * 5

    edit = changing(SustainedRun, samples_ns=slower)
    session = session_of(plan_of(1, rounds=1, phases=ALL), edit=edit)
    (found,) = sustained(session, 0)
    assert found.samples == 50
    assert found.first_ns == BASE_NS
    assert found.last_ns == pytest.approx(1.9 * BASE_NS)
    assert found.slowdown == pytest.approx(1.9)
    assert [s.median_ns for s in found.curve] == [BASE_NS + BASE_NS * n // 10 for n in range(10)]
    assert found.curve[0].at_ns < found.curve[-1].at_ns < found.duration_ns


def test_memory_is_that_of_the_process_and_what_a_load_added() -> None:
    looked = reading("memory", value=80_000_000), reading("memory", value=150_000_000)
    session = session_of(readings=looked)
    first, second = memory(session, 0), memory(session, 1)
    assert first is not None and second is not None
    assert first.growth is not None and second.growth is not None
    assert (first.growth.median, second.growth.median) == (30_000_000, 10_000_000)
    assert second.after_load.median == 120_000_000
    assert first.peak_bytes == 150_000_000
    assert memory(session_of(edit=changing(Loaded, memory_bytes=None)), 0) is None


def test_cpu_time_is_held_against_the_inferences() -> None:
    def halved(block: Block) -> tuple[CellBurst, ...]:
        return tuple(
            burst.model_copy(update={"cpu_ns": sum(burst.samples_ns) // 2})
            for burst in block.bursts
        )

    found = cpu_share(session_of(edit=changing(Block, bursts=halved)), 1)
    assert found is not None
    assert found.lowest == 0.5
    assert [each.round for each in found.rounds] == [0, 1, 2, 3, 4]
    assert {each.stretch for each in found.rounds} == {2.0}
    assert found.on_cpu


def test_too_little_cpu_time_says_nothing() -> None:
    assert cpu_share(session_of(latencies=lambda r, b, c: 1000), 0) is None


@pytest.mark.parametrize(
    ("asked", "seen", "on_cpu"),
    [
        (Unit.CPU, None, True),
        (Unit.NPU, None, False),
        (Unit.ALL, Unit.CPU, True),
        (Unit.CPU, Unit.GPU, False),
    ],
)
def test_only_the_cpu_is_known_to_wait_for_nothing(
    asked: Unit, seen: Unit | None, on_cpu: bool
) -> None:
    session = session_of(plan_of([cell_of(0, unit=asked)]), edit=changing(Loaded, unit=seen))
    found = cpu_share(session, 0)
    assert found is not None and found.on_cpu is on_cpu


def test_the_ninetieth_percentile_by_rank() -> None:
    plan = plan_of(1, rounds=1, blocks=1)
    few = single_stream(session_of(plan, lambda r, b, c: tuple(range(1, 11))), 0)
    assert few is not None
    assert (few.p90_ns, few.samples, few.complete) == (10, 10, False)
    long = session_of(plan, lambda r, b, c: 60_000_000, iterations=1024)
    enough = single_stream(long, 0)
    assert enough is not None and enough.complete


def test_nothing_has_no_spread() -> None:
    assert spread([]) is None
    assert spread([None, 3, None, 1]) == spread([1, 3])


def test_a_session_without_these_phases_has_none_of_their_figures() -> None:
    session = session_of()
    assert pace(session, 0) is None
    assert sustained(session, 0) == ()


@given(sessions())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_can_be_folded_has_figures_or_none(session: Session) -> None:
    for cell in (0, 1):
        for read in (loads, warm_ups, pace, sustained, memory, cpu_share, single_stream):
            read(session, cell)
        found = latency(session, cell)
        assert found is None or 0 < found.median_ns < math.inf
        for base in (0, 1):
            compared = ratio(session, cell, base)
            if compared is not None and compared.low is not None and compared.high is not None:
                assert 0 < compared.low <= compared.high < math.inf


def test_a_run_of_a_minute_is_one_though_looks_at_sensors_lie_between_inferences() -> None:
    plan = plan_of(1, rounds=1, phases=(Phase.SUSTAINED,))

    # Ten stretches of 200 inferences: of 29.9 ms each of the 30 ms between them.
    session = session_of(
        plan, lambda r, b, c: [29_900_000] * 200, edit=lambda line: spread_out(line, 30_000_000)
    )
    found = single_stream(session, 0)
    assert found is not None
    assert found.samples * 29_900_000 < MLPERF_NS <= found.duration_ns and found.complete


def spread_out(line: Contract, period_ns: int) -> Contract:
    """A stretch whose inferences take up `period_ns` each, looks included."""
    if not isinstance(line, SustainedRun):
        return line
    number = round(line.end_ns / sum(line.samples_ns)) - 1
    length = len(line.samples_ns) * period_ns
    start_ns = number * length
    return line.model_copy(update={"start_ns": start_ns, "end_ns": start_ns + length})
