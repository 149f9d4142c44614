from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from care_mobile.bench.harness.control import Calibrated, calibrate, control_time
from care_mobile.bench.harness.tools import Tools
from care_mobile.bench.protocol.arithmetic import control, control_text


class Clock:
    """Moved by the kernel alone: `per_iteration(run)` nanoseconds, or the real kernel's result."""

    def __init__(self, per_iteration: Callable[[int], int]) -> None:
        self.now = 0
        self.runs: list[int] = []
        self._per_iteration = per_iteration

    def kernel(self, iterations: int) -> int:
        self.now += iterations * self._per_iteration(len(self.runs))
        self.runs.append(iterations)
        return control(iterations) if iterations < 10_000 else iterations

    def tools(self) -> Tools:
        def unused(*_: Any, **__: Any) -> Any:
            raise AssertionError

        return Tools(
            origin_ns=0, now_ns=lambda: self.now, sleep_ns=unused, cpu_ns=None,
            control=self.kernel, look=unused, load=unused, emit=unused,
        )  # fmt: skip


def test_the_shortest_of_three() -> None:
    clock = Clock(lambda run: (9, 5, 7)[run])
    assert control_time(100, clock.tools()) == (control(100), 500)
    assert clock.runs == [100] * 3


@pytest.mark.parametrize(
    ("target_ns", "iterations"), [(0, 1024), (1024, 1024), (1025, 2048), (5000, 8192)]
)
def test_doubled_until_it_takes_long_enough(target_ns: int, iterations: int) -> None:
    found = calibrate(target_ns, None, Clock(lambda run: 1).tools())
    assert found == Calibrated(iterations, control_text(control(iterations)), iterations)


def test_one_interruption_does_not_end_it() -> None:
    found = calibrate(2048, None, Clock(lambda run: 1000 if run == 1 else 1).tools())
    assert found.iterations == 2048


def test_as_many_as_are_given() -> None:
    clock = Clock(lambda run: 1)
    found = calibrate(10**9, 7, clock.tools())
    assert found == Calibrated(7, control_text(control(7)), 7)
    assert clock.runs == [7] * 3


def test_a_clock_that_stands_still_ends() -> None:
    assert calibrate(10**9, None, Clock(lambda run: 0).tools()).iterations == 2**30
