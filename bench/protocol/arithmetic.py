"""Every number that a harness computes, in whole numbers with floor division.

`tests/golden/protocol/arithmetic.json` holds inputs and results for all languages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

from .plan import Burst, Warmup

MASK = 2**64 - 1
CONTROL_SEED = 0x9E3779B97F4A7C15


class WarmState(str, Enum):
    """`COLD` goes on; the others end the warm-up."""

    COLD = "cold"
    STEADY = "steady"
    CAPPED = "capped"


def median_ns(samples: Sequence[int]) -> int:
    """The middle of at least one sample in ascending order; of two, half their sum."""
    ordered = sorted(samples)
    high = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[high]
    return (ordered[high - 1] + ordered[high]) // 2


def windows_agree(samples: Sequence[int], rules: Warmup) -> bool:
    """Whether the medians of the last two windows differ by at most the tolerance.

    With fewer than two windows of samples, a window is half of them; fewer than two samples agree
    on nothing.
    """
    window = min(rules.window, len(samples) // 2)
    if window == 0:
        return False
    last = median_ns(samples[-window:])
    previous = median_ns(samples[-2 * window : -window])
    return abs(last - previous) * 1000 <= rules.tolerance_permille * min(last, previous)


def warm_state(samples: Sequence[int], elapsed_ns: int, rules: Warmup) -> WarmState:
    """After each inference of a warm-up; `elapsed_ns` since it began."""
    enough = len(samples) >= rules.min_iterations or elapsed_ns >= rules.min_ns
    if enough and windows_agree(samples, rules):
        return WarmState.STEADY
    if len(samples) >= rules.max_iterations or elapsed_ns >= rules.max_ns:
        return WarmState.CAPPED
    return WarmState.COLD


def warm_latency_ns(samples: Sequence[int], rules: Warmup) -> int:
    """What an inference takes after a warm-up: the median of its last window."""
    return median_ns(samples[-rules.window :])


def burst_iterations(latency_ns: int, burst: Burst) -> int:
    """Inferences of a burst; decided once per cell and round."""
    fitting = burst.target_ns // max(latency_ns, 1)
    return min(max(fitting, burst.min_iterations), burst.max_iterations)


def drifted(before_ns: int, after_ns: int, permille: int) -> bool:
    """Whether two times of the control kernel differ by more than `permille` of the shorter."""
    return abs(after_ns - before_ns) * 1000 > permille * min(before_ns, after_ns)


def answer_stride(elements: int, limit: int) -> int:
    """Of an output with so many elements every how manieth is sent, from the first.

    The least stride that leaves at most `limit` and has no divisor in common with the count: a
    multiple of the width, say, would see one column only.
    """
    stride = max(1, (elements + limit - 1) // limit)
    while stride > 1 and math.gcd(stride, elements) > 1:
        stride += 1
    return stride


def control(iterations: int) -> int:
    """The control kernel: Marsaglia's xorshift64 (13, 7, 17), so many times; its last state."""
    state = CONTROL_SEED
    for _ in range(iterations):
        state ^= (state << 13) & MASK
        state ^= state >> 7
        state ^= (state << 17) & MASK
    return state


def control_text(state: int) -> str:
    """A state as events hold it: 16 hexadecimal digits."""
    return f"{state:016x}"
