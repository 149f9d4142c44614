"""The control kernel's time: how fast the machine is at this moment, whatever the networks do.

A time is the shortest of three repetitions back to back: what interrupts a kernel of two
milliseconds only ever makes it longer, and seldom three times in a row; a clock that went down
makes all three longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol.arithmetic import control_text
from .tools import Tools

REPETITIONS = 3
FIRST_ITERATIONS = 1024
MAX_ITERATIONS = 2**31 - 1


@dataclass(frozen=True)
class Calibrated:
    """The kernel as this launch runs it."""

    iterations: int
    checksum: str
    control_ns: int


def control_time(iterations: int, tools: Tools) -> tuple[int, int]:
    """Its last state and its time in nanoseconds."""
    now_ns, kernel = tools.now_ns, tools.control
    state, shortest = 0, 0
    for repetition in range(REPETITIONS):
        begin = now_ns()
        state = kernel(iterations)
        took = now_ns() - begin
        shortest = min(shortest, took) if repetition else took
    return state, shortest


def calibrate(target_ns: int, iterations: int | None, tools: Tools) -> Calibrated:
    """From 1024 iterations, doubled until they take `target_ns`; or as many as are given."""
    count = iterations or FIRST_ITERATIONS
    state, took = control_time(count, tools)
    while iterations is None and took < target_ns and count * 2 <= MAX_ITERATIONS:
        count *= 2
        state, took = control_time(count, tools)
    return Calibrated(count, control_text(state), took)
