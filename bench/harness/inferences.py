"""Inferences, timed: the innermost loops, which do nothing but run and read the clock."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..protocol.arithmetic import WarmState, warm_latency_ns, warm_state
from ..protocol.plan import Paced, Warmup
from .tools import LoadedCell, Tools

SPIN_NS = 1_000_000
"""Before an inference's time a paced run stops sleeping: sleep may end that late."""
FAILURES = (Exception, SystemExit)
"""What ends a cell. An interrupt ends the harness."""
STRETCH_NS = 1_000_000_000
STRETCH_SAMPLES = 100_000
"""A sustained run is written in stretches of about this length, so that memory stays bounded."""


class Timed(NamedTuple):
    """Inferences of one cell; `start_ns` and `end_ns` by the raw clock."""

    start_ns: int
    end_ns: int
    samples_ns: list[int]
    cpu_ns: int | None


class WarmedUp(NamedTuple):
    iterations: int
    first_ns: int
    latency_ns: int
    total_ns: int
    steady: bool


class PacedTimes(NamedTuple):
    start_ns: int
    samples_ns: list[int]
    late_ns: list[int]
    cpu_ns: int | None


@contextmanager
def without_gc() -> Iterator[None]:
    """No garbage collection inside: its pauses are Python's, not the network's."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def enter(cell: LoadedCell) -> None:
    if cell.enter is not None:
        cell.enter()


def warm_up(cell: LoadedCell, rules: Warmup, tools: Tools) -> WarmedUp:
    """Run a cell until it is warm, or the rules give up."""
    now_ns, infer = tools.now_ns, cell.infer
    samples: list[int] = []
    state = WarmState.COLD
    enter(cell)
    start = now_ns()
    with without_gc():
        while state is WarmState.COLD:
            begin = now_ns()
            infer()
            end = now_ns()
            samples.append(end - begin)
            state = warm_state(samples, end - start, rules)
    steady = state is WarmState.STEADY
    return WarmedUp(len(samples), samples[0], warm_latency_ns(samples, rules), end - start, steady)


def burst(cell: LoadedCell, count: int, tools: Tools) -> Timed:
    """`count` inferences back to back."""
    now_ns, infer, cpu_ns = tools.now_ns, cell.infer, tools.cpu_ns
    samples = [0] * count
    enter(cell)
    with without_gc():
        start = now_ns()
        cpu = cpu_ns() if cpu_ns else 0
        for i in range(count):
            begin = now_ns()
            infer()
            samples[i] = now_ns() - begin
        spent = cpu_ns() - cpu if cpu_ns else None
        end = now_ns()
    return Timed(start, end, samples, spent)


class _Turn:
    """One cell of a block whose cells take turns."""

    def __init__(self, cell: LoadedCell, count: int) -> None:
        self.enter = cell.enter
        self.infer = cell.infer
        self.samples = [0] * count
        self.start = self.end = self.spent = 0
        self.error: BaseException | None = None


def alternating(
    cells: Sequence[LoadedCell], count: int, tools: Tools
) -> list[Timed | BaseException]:
    """Inference by inference, `count` of each, in the order of `cells`.

    A cell that fails takes no further turns and has its error in place of times. The CPU time of
    a cell is that between the end of the turn before and the end of its own.
    """
    everyone = [_Turn(cell, count) for cell in cells]
    turns, now_ns, cpu_ns = everyone, tools.now_ns, tools.cpu_ns
    with without_gc():
        before = cpu_ns() if cpu_ns else 0
        for i in range(count):
            for turn in turns:
                try:
                    if turn.enter is not None:
                        turn.enter()
                    begin = now_ns()
                    turn.infer()
                    turn.end = end = now_ns()
                except FAILURES as error:
                    turn.error = error
                    continue
                turn.samples[i] = end - begin
                if i == 0:
                    turn.start = begin
                if cpu_ns:
                    after = cpu_ns()
                    turn.spent += after - before
                    before = after
            turns = [turn for turn in turns if turn.error is None]
    return [
        turn.error or Timed(turn.start, turn.end, turn.samples, turn.spent if cpu_ns else None)
        for turn in everyone
    ]


def paced(cell: LoadedCell, rules: Paced, tools: Tools) -> PacedTimes:
    """An inference every `interval_ns` of a schedule that is fixed when the run begins.

    One that is late does not move those after it. CPU time is of the inferences alone.
    """
    now_ns, infer, cpu_ns = tools.now_ns, cell.infer, tools.cpu_ns
    samples, late = [0] * rules.count, [0] * rules.count
    spent = 0
    enter(cell)
    with without_gc():
        start = now_ns()
        for i in range(rules.count):
            due = start + i * rules.interval_ns
            _wait_until(due, tools)
            cpu = cpu_ns() if cpu_ns else 0
            begin = now_ns()
            infer()
            samples[i] = now_ns() - begin
            late[i] = begin - due
            spent += cpu_ns() - cpu if cpu_ns else 0
    return PacedTimes(start, samples, late, spent if cpu_ns else None)


def _wait_until(due: int, tools: Tools) -> None:
    left = due - tools.now_ns()
    if left > SPIN_NS:
        tools.sleep_ns(left - SPIN_NS)
    while tools.now_ns() < due:
        pass


def stretch(cell: LoadedCell, until: int, least: int, tools: Tools) -> Timed:
    """Inferences back to back until the raw clock says `until` and there are `least` of them, or
    a stretch is full; at least one."""
    now_ns, infer, cpu_ns = tools.now_ns, cell.infer, tools.cpu_ns
    samples: list[int] = []
    enter(cell)
    with without_gc():
        start = now_ns()
        full = start + STRETCH_NS
        cpu = cpu_ns() if cpu_ns else 0
        while True:
            begin = now_ns()
            infer()
            end = now_ns()
            samples.append(end - begin)
            count = len(samples)
            if end >= full or count >= STRETCH_SAMPLES or (end >= until and count >= least):
                break
        spent = cpu_ns() - cpu if cpu_ns else None
        end = now_ns()
    return Timed(start, end, samples, spent)
