from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat

import pytest

from care_mobile.bench.environment import MemoryReading, Readings, ThermalReading, ThermalStatus
from care_mobile.bench.plan import (
    BundleIdentity,
    BurstSize,
    MeasurementPlan,
    WarmupRules,
    make_plan,
)
from care_mobile.bench.record import Outcome, WarningCode
from care_mobile.bench.runner import DeviceLostError, Instruments, Measurement, Progress, measure
from care_mobile.errors import RuntimeFailure

MS = 1_000_000


@dataclass
class World:
    """A clock that only inferences and sleeping move, and a diary of both."""

    now_ns: int = 5 * MS
    diary: list[str] = field(default_factory=list)

    def model(self, name: str, latencies: Iterator[int]) -> Callable[[], None]:
        def infer() -> None:
            self.diary.append(name)
            self.now_ns += next(latencies)

        return infer

    def sleep(self, seconds: float) -> None:
        self.diary.append("sleep")
        self.now_ns += round(seconds * 1e9)

    def instruments(self, **changes: Callable[..., object]) -> Instruments:
        return Instruments(
            **{"now_ns": lambda: self.now_ns, "sleep": self.sleep, **changes}  # type: ignore[arg-type]
        )


def plan_of(names: str, blocks: int = 4, **changes: object) -> MeasurementPlan:
    identities = [BundleIdentity(name=name, integrity="0") for name in names]
    plan = make_plan(identities, blocks=blocks, burst=BurstSize.exactly(3), seed=2)
    return plan.model_copy(update=changes)


def warm(latencies: Iterator[int], **rules: float) -> Measurement:
    world = World()
    plan = plan_of("a", warmup=WarmupRules(**rules))  # type: ignore[arg-type]
    return measure(plan, {0: world.model("a", latencies)}, world.instruments())[0]


def test_bursts_follow_the_plan_with_a_pause_after_each() -> None:
    world = World()
    plan = plan_of("ab")
    models = {i: world.model(name, repeat(MS)) for i, name in enumerate("ab")}
    results = measure(plan, models, world.instruments())
    bursts = "".join(world.diary).split("sleep")
    names = ["ab"[i] for i in (*plan.load_order, *chain(*plan.order))]
    assert [burst[:1] for burst in bursts[:-1]] == names
    assert bursts[2:-1] == [name * 3 for name in names[2:]]
    for result in results.values():
        assert [block.number for block in result.blocks] == [0, 1, 2, 3]
        assert {block.samples_ns for block in result.blocks} == {(MS, MS, MS)}


def test_start_of_blocks_counts_from_the_session() -> None:
    world = World()
    plan = plan_of("a", blocks=2, pause_seconds=0.001)
    result = measure(plan, {0: world.model("a", repeat(MS))}, world.instruments())[0]
    warmup = len(result.warmup_ns)
    assert [block.start_ns for block in result.blocks] == [(warmup + 1) * MS, (warmup + 5) * MS]


def test_warm_up_ends_after_enough_steady_iterations() -> None:
    result = warm(repeat(MS))
    assert result.warmup_ns == [MS] * 20
    assert result.warnings == []


def test_warm_up_goes_on_until_windows_agree() -> None:
    falling = chain((9 * MS - i * MS // 10 for i in range(40)), repeat(5 * MS))
    result = warm(falling)
    assert 50 <= len(result.warmup_ns) <= 60
    assert result.warnings == []


def test_a_slow_model_is_warm_after_a_second() -> None:
    assert warm(repeat(600 * MS)).warmup_ns == [600 * MS] * 2


@pytest.mark.parametrize(("rules", "iterations"), [({"max_iterations": 30}, 30), ({}, 73)])
def test_warm_up_gives_up_at_its_cap(rules: dict[str, float], iterations: int) -> None:
    growing = (MS * int(1.1**i) for i in range(10**6))
    result = warm(growing, **rules)
    assert WarningCode.WARMUP_CAPPED in {warning.code for warning in result.warnings}
    assert len(result.warmup_ns) == iterations
    assert len(result.blocks) == 4


def test_the_burst_fits_the_latency_after_warm_up() -> None:
    world = World()
    plan = plan_of("a", burst=BurstSize(block_seconds=0.25, min_iterations=1, max_iterations=900))
    falling = chain((9 * MS - i * MS // 10 for i in range(40)), repeat(5 * MS))
    result = measure(plan, {0: world.model("a", falling)}, world.instruments())[0]
    assert {len(block.samples_ns) for block in result.blocks} == {50}


def test_no_garbage_is_collected_while_measuring() -> None:
    world = World()
    states: set[bool] = set()

    def infer() -> None:
        states.add(gc.isenabled())
        world.now_ns += MS

    outside: list[bool] = []
    assert gc.isenabled()
    watch = world.instruments(progress=lambda progress: outside.append(gc.isenabled()))
    measure(plan_of("a"), {0: infer}, watch)
    assert states == {False}
    assert set(outside) == {True}
    assert gc.isenabled()


def test_a_failing_bundle_does_not_stop_the_others() -> None:
    world = World()
    calls = iter(range(10**6))

    def failing() -> None:
        world.now_ns += MS
        if next(calls) == 20 + 3 + 1:
            raise RuntimeFailure("a: out of memory")

    models = {0: failing, 1: world.model("b", repeat(MS))}
    results = measure(plan_of("ab"), models, world.instruments())
    assert (results[0].outcome, results[0].reason) == (Outcome.FAILED, "a: out of memory")
    assert [block.number for block in results[0].blocks] == [0]
    assert results[1].outcome is Outcome.COMPLETED
    assert len(results[1].blocks) == 4
    assert gc.isenabled()


def test_a_lost_device_ends_everything_but_keeps_whole_blocks() -> None:
    world = World()
    left = iter(range(10**6))

    def unplugged() -> None:
        world.now_ns += MS
        if next(left) == 50:
            raise DeviceLostError("unplugged")

    results = measure(plan_of("ab", blocks=6), {0: unplugged, 1: unplugged}, world.instruments())
    assert {r.outcome for r in results.values()} == {Outcome.DEVICE_LOST}
    assert {r.reason for r in results.values()} == {"unplugged"}
    assert sum(len(r.blocks) for r in results.values()) == 3
    assert next(left) == 51


def test_an_interrupt_passes_through() -> None:
    def infer() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(plan_of("a"), {0: infer}, World().instruments())
    assert gc.isenabled()


def test_bundles_that_are_not_loaded_are_left_out() -> None:
    world = World()
    results = measure(plan_of("abc"), {2: world.model("c", repeat(MS))}, world.instruments())
    assert list(results) == [2]
    assert len(results[2].blocks) == 4


def test_progress_counts_every_slot() -> None:
    world = World()
    seen: list[Progress] = []
    plan = plan_of("ab", blocks=2)
    models = {i: world.model(name, repeat(MS)) for i, name in enumerate("ab")}
    measure(plan, models, world.instruments(progress=seen.append))
    assert [p.done for p in seen] == list(range(7))
    assert {p.total for p in seen} == {6}
    assert [p.block for p in seen] == [None, None, 0, 0, 1, 1, None]
    assert seen[-1].bundle == ""


def test_a_step_is_no_steady_state() -> None:
    stepping = chain(repeat(MS, 20 + 4 * 3), repeat(2 * MS))
    world = World()
    result = measure(plan_of("a", blocks=8), {0: world.model("a", stepping)}, world.instruments())[
        0
    ]
    assert [w.code for w in result.warnings] == [WarningCode.NO_STEADY_STATE]
    assert "block 4" in result.warnings[0].detail


def test_readings_are_kept_and_heat_is_a_warning() -> None:
    world = World()

    def observe(at_ns: int) -> Readings:
        hot = at_ns > 40 * MS
        status = ThermalStatus.LIGHT if hot else ThermalStatus.NOMINAL
        return Readings(
            thermal=(ThermalReading(at_ns=at_ns, sensor="s", status=status),),
            memory=(MemoryReading(at_ns=at_ns, resident_bytes=7),),
        )

    plan = plan_of("a", pause_seconds=0.01)
    model = {0: world.model("a", repeat(MS))}
    result = measure(plan, model, world.instruments(observe=observe))[0]
    assert [r.at_ns for r in result.memory] == [20 * MS, 33 * MS, 46 * MS, 59 * MS, 72 * MS]
    assert [w.code for w in result.warnings] == [WarningCode.THROTTLED]
    assert result.warnings[0].detail.startswith("3 of 5 ")
