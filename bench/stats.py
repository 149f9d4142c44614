"""Statistics of raw samples: pure functions, no verdicts.

Latencies are in nanoseconds. The unit of evidence is the block: samples inside one burst are not
independent, so intervals come from blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.requirements import load

from .record import RecordError, RunRecord

TAIL_SAMPLES = 1000
"""Fewest samples from which a 95th or 99th percentile means anything."""

STEP = 0.05
STEP_SIDE = 3
"""Least relative size of a step and least blocks on each side of it; see `find_step`."""


@dataclass(frozen=True)
class Summary:
    """`mad_ns` is the median absolute deviation from the median."""

    count: int
    median_ns: float
    p10_ns: float
    p90_ns: float
    minimum_ns: int
    mad_ns: float
    p95_ns: float | None
    p99_ns: float | None


def summarize(samples_ns: Sequence[int]) -> Summary:
    """Summary of at least one sample; percentiles interpolate linearly.

    Raises:
        ValueError: without samples.
    """
    if not samples_ns:
        raise ValueError("no samples to summarize")
    values = np.asarray(samples_ns, np.float64)
    p10, middle, p90, p95, p99 = (float(v) for v in np.percentile(values, (10, 50, 90, 95, 99)))
    tails = len(values) >= TAIL_SAMPLES
    return Summary(
        count=len(values),
        median_ns=middle,
        p10_ns=p10,
        p90_ns=p90,
        minimum_ns=min(samples_ns),
        mad_ns=float(np.median(np.abs(values - middle))),
        p95_ns=p95 if tails else None,
        p99_ns=p99 if tails else None,
    )


@dataclass(frozen=True)
class PairedRatio:
    """Latency of one bundle over another's, with a 95 % interval where there are two blocks."""

    ratio: float
    low: float | None
    high: float | None
    blocks: int


def block_log_ratios(record: RunRecord, base: RunRecord) -> NDArray[np.float64]:
    """ln(median of `record` / median of `base`) of each block that both hold, in order.

    Raises:
        RecordError: if the two were not taken in one session, or share no block.
    """
    if record.session_id != base.session_id:
        raise RecordError(
            f"{record.bundle.name} and {base.bundle.name} were measured in different sessions",
            "measure both in one command",
        )
    medians = {block.number: median(block.samples_ns) for block in base.blocks}
    ratios = [
        np.log(max(median(block.samples_ns), 1.0) / max(medians[block.number], 1.0))
        for block in record.blocks
        if block.number in medians
    ]
    if not ratios:
        raise RecordError(f"{record.bundle.name} and {base.bundle.name} share no block")
    return np.asarray(ratios, np.float64)


def paired_ratio(record: RunRecord, base: RunRecord) -> PairedRatio:
    """How many times the latency of `base` that of `record` is.

    The mean of the blocks' log ratios with a two-sided 95 % t interval, as ratios.

    Raises:
        RecordError: as `block_log_ratios`.
    """
    logs = block_log_ratios(record, base)
    mean, count = float(logs.mean()), len(logs)
    if count < 2:
        return PairedRatio(float(np.exp(mean)), None, None, count)
    special: Any = load("scipy.special", "bench")
    half = float(special.stdtrit(count - 1, 0.975) * logs.std(ddof=1) / np.sqrt(count))
    low, ratio, high = (float(np.exp(mean + offset)) for offset in (-half, 0.0, half))
    return PairedRatio(ratio, low, high, count)


def windows_agree(samples_ns: Sequence[int], window: int, tolerance: float) -> bool:
    """Whether the medians of the last two windows differ by at most `tolerance` of the lower.

    With fewer than two windows of samples, a window is half of them; with fewer than two samples
    nothing can agree.
    """
    window = min(window, len(samples_ns) // 2)
    if window == 0:
        return False
    last = median(samples_ns[-window:])
    previous = median(samples_ns[-2 * window : -window])
    return abs(last - previous) <= tolerance * min(last, previous)


def find_step(block_medians_ns: Sequence[float]) -> int | None:
    """The block at which latency changed for good, None if it held steady.

    A step has at least `STEP_SIDE` blocks on each side, every block after it is slower (or every
    one faster) than every block before it, and the sides' medians differ by more than `STEP`.
    Of several places the one with the widest gap between the sides is given.
    """
    best: tuple[float, int] | None = None
    for place in range(STEP_SIDE, len(block_medians_ns) - STEP_SIDE + 1):
        before, after = block_medians_ns[:place], block_medians_ns[place:]
        gap = max(min(after) - max(before), min(before) - max(after))
        low, high = sorted((median(before), median(after)))
        if gap > 0 and high - low > STEP * low and (best is None or gap > best[0]):
            best = gap, place
    return None if best is None else best[1]
