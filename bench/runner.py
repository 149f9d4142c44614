"""The measuring loop: warm up every bundle, then interleave bursts of all of them.

It knows clocks and callables, no disk, no terminal and no runtime.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from care_mobile.errors import CareError

from .environment import BatteryReading, MemoryReading, Readings, ThermalReading, ThermalStatus
from .plan import MeasurementPlan, WarmupRules
from .record import BlockSamples, Outcome, RunWarning, WarningCode
from .stats import find_step, windows_agree

Inference = Callable[[], object]
"""One inference, complete when it returns; raises a `CareError` when it fails."""


class DeviceLostError(CareError):
    """The device went away: nothing more can be measured in this session."""

    exit_code = 5


@dataclass(frozen=True)
class Progress:
    """`done` of `total` slots are over; next is `block` of a bundle, None for its warm-up."""

    done: int
    total: int
    bundle: str
    block: int | None


def _unobserved(at_ns: int) -> Readings:
    return Readings()


def _unwatched(progress: Progress) -> None:
    return None


@dataclass(frozen=True)
class Instruments:
    """What the loop measures with. `observe` gets the time since the session's start."""

    now_ns: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    observe: Callable[[int], Readings] = _unobserved
    progress: Callable[[Progress], None] = _unwatched


@dataclass
class Measurement:
    """What the loop found out about one bundle."""

    warmup_ns: list[int] = field(default_factory=list)
    blocks: list[BlockSamples] = field(default_factory=list)
    thermal: list[ThermalReading] = field(default_factory=list)
    battery: list[BatteryReading] = field(default_factory=list)
    memory: list[MemoryReading] = field(default_factory=list)
    warnings: list[RunWarning] = field(default_factory=list)
    outcome: Outcome = Outcome.COMPLETED
    reason: str = ""

    def end(self, outcome: Outcome, error: CareError) -> None:
        self.outcome, self.reason = outcome, str(error)


class _Slot(NamedTuple):
    bundle: int
    block: int | None


def measure(
    plan: MeasurementPlan, inferences: Mapping[int, Inference], instruments: Instruments
) -> dict[int, Measurement]:
    """Run the plan for the bundles that `inferences` holds, by position in the plan.

    A bundle that fails ends there with its reason and the others go on; when the device is lost
    all end. Only an interrupt leaves this function early.
    """
    results = {bundle: Measurement() for bundle in inferences}
    slots = [_Slot(bundle, None) for bundle in plan.load_order if bundle in inferences]
    for number, row in enumerate(plan.order):
        slots += [_Slot(bundle, number) for bundle in row if bundle in inferences]
    start_ns = instruments.now_ns()
    for done, slot in enumerate(slots):
        result = results[slot.bundle]
        if result.outcome is not Outcome.COMPLETED:
            continue
        name = plan.bundles[slot.bundle].name
        instruments.progress(Progress(done, len(slots), name, slot.block))
        try:
            _run_slot(plan, slot, inferences[slot.bundle], result, instruments, start_ns=start_ns)
        except DeviceLostError as error:
            for other in results.values():
                if other.outcome is Outcome.COMPLETED:
                    other.end(Outcome.DEVICE_LOST, error)
        except CareError as error:
            result.end(Outcome.FAILED, error)
    instruments.progress(Progress(len(slots), len(slots), "", None))
    for result in results.values():
        result.warnings += _judge_blocks(result)
    return results


def _run_slot(
    plan: MeasurementPlan,
    slot: _Slot,
    infer: Inference,
    result: Measurement,
    instruments: Instruments,
    *,
    start_ns: int,
) -> None:
    with _without_gc():
        if slot.block is None:
            warm = _warm_up(infer, plan.warmup, result.warmup_ns, instruments.now_ns)
            if not warm:
                result.warnings.append(_not_warm(plan.warmup, len(result.warmup_ns)))
        else:
            begin_ns = instruments.now_ns() - start_ns
            count = plan.burst.iterations(median(result.warmup_ns[-plan.warmup.window :]))
            samples = _burst(infer, count, instruments.now_ns)
            block = BlockSamples(number=slot.block, start_ns=begin_ns, samples_ns=tuple(samples))
            result.blocks.append(block)
    readings = instruments.observe(instruments.now_ns() - start_ns)
    result.thermal += readings.thermal
    result.battery += readings.battery
    result.memory += readings.memory
    instruments.sleep(plan.pause_seconds)


@contextmanager
def _without_gc() -> Iterator[None]:
    """No garbage collection inside: its pauses are Python's, not the network's."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _burst(infer: Inference, iterations: int, now_ns: Callable[[], int]) -> list[int]:
    samples = [0] * iterations
    for i in range(iterations):
        begin = now_ns()
        infer()
        samples[i] = now_ns() - begin
    return samples


def _warm_up(
    infer: Inference, rules: WarmupRules, samples: list[int], now_ns: Callable[[], int]
) -> bool:
    """Fill `samples` until the rules are met (True) or give up at their cap (False)."""
    start = now_ns()
    while True:
        samples += _burst(infer, 1, now_ns)
        seconds = (now_ns() - start) / 1e9
        enough = len(samples) >= rules.min_iterations or seconds >= rules.min_seconds
        if enough and windows_agree(samples, rules.window, rules.tolerance):
            return True
        if len(samples) >= rules.max_iterations or seconds >= rules.max_seconds:
            return False


def _not_warm(rules: WarmupRules, iterations: int) -> RunWarning:
    return RunWarning(
        code=WarningCode.WARMUP_CAPPED,
        detail=f"latency still moved by more than {rules.tolerance:.0%} "
        f"after {iterations} warm-up iterations",
    )


def _judge_blocks(result: Measurement) -> Iterator[RunWarning]:
    step = find_step([median(block.samples_ns) for block in result.blocks])
    if step is not None:
        yield RunWarning(
            code=WarningCode.NO_STEADY_STATE,
            detail=f"latency changed for good at block {result.blocks[step].number}",
        )
    hot = [r for r in result.thermal if r.status not in (None, ThermalStatus.NOMINAL)]
    if hot:
        yield RunWarning(
            code=WarningCode.THROTTLED,
            detail=f"{len(hot)} of {len(result.thermal)} thermal readings above nominal",
        )
