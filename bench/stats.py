"""Latencies and their ratios: pure functions over a record, no verdicts.

Latencies are in nanoseconds. The unit of evidence is the round, a fresh load of all its cells:
samples inside one burst are not independent, and the blocks of one load share its luck in memory
layout and caches. Blocks make a round's figure precise; intervals come from rounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from statistics import median
from typing import Any

import numpy as np

from care_mobile.requirements import load

from .evidence import RoundEvidence, evidence, share_blocks
from .protocol.record import Session

TAIL_SAMPLES = 1000
"""Fewest samples from which a 95th or 99th percentile means anything."""

MARGIN = 0.03
"""Within which two latencies count as the same: what a calibrated rig can resolve."""


STEP = 0.05
STEP_SIDE = 3
"""Least relative size of a step and least blocks on each side of it; see `find_step`."""


@dataclass(frozen=True)
class SampleSummary:
    """`mad_ns` is the median absolute deviation from the median."""

    count: int
    median_ns: float
    p10_ns: float
    p90_ns: float
    minimum_ns: int
    mad_ns: float
    p95_ns: float | None
    p99_ns: float | None


def summarize(samples_ns: Sequence[int]) -> SampleSummary:
    """Summary of at least one sample; percentiles interpolate linearly.

    Raises:
        ValueError: without samples.
    """
    if not samples_ns:
        raise ValueError("no samples to summarize")
    values = np.asarray(samples_ns, np.float64)
    p10, middle, p90, p95, p99 = (float(v) for v in np.percentile(values, (10, 50, 90, 95, 99)))
    tails = len(values) >= TAIL_SAMPLES
    return SampleSummary(
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
class Latency:
    """Of one cell. The interval is over rounds; with a single round there is none."""

    median_ns: float
    """The median over rounds of the rounds' medians."""
    low_ns: float | None
    high_ns: float | None
    rounds: int
    samples: SampleSummary
    """Of the inferences of all rounds together: spread, not evidence."""


class Pairing(str, Enum):
    """What two cells have in common: blocks of one launch, or only the replicate."""

    BLOCK = "block"
    REPLICATE = "replicate"


@dataclass(frozen=True)
class Ratio:
    """How many times the latency of a base that of a cell is, with a 95 % interval over rounds."""

    ratio: float
    low: float | None
    high: float | None
    rounds: int
    between_sd: float | None
    """Standard deviation of the rounds' log ratios; None with one round."""
    within_sd: float | None
    """Of the blocks' log ratios around their round's, pooled; None if no round has two blocks."""
    load_sd: float | None
    """What of `between_sd` blocks cannot average away: the part that comes with each load."""
    hodges_lehmann: float
    """The median of the pairwise means of the rounds' log ratios, as a ratio."""
    pairing: Pairing
    blocks: int

    @property
    def signs_agree(self) -> bool:
        """Whether the mean and the robust estimate see the same direction."""
        return (self.ratio - 1) * (self.hodges_lehmann - 1) >= 0

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 1; without an interval, or if signs disagree, never."""
        if self.low is None or self.high is None or not self.signs_agree:
            return False
        return self.low > 1 or self.high < 1

    def differs_among(self, pairs: int) -> bool:
        """Whether 1 is excluded even if the two were chosen among `pairs` by their own figures.

        The t interval at 5 % divided by their number (Bonferroni): of ten equal cells the luckiest
        is the fastest, and 95 % intervals against it find a difference in two sessions of five.
        """
        if not self.differs or self.between_sd is None:
            return False
        half = _t_quantile(self.rounds - 1, 0.05 / pairs) * self.between_sd / math.sqrt(self.rounds)
        return abs(math.log(self.ratio)) > half

    def equivalent(self, margin: float = MARGIN) -> bool:
        """Whether the whole interval lies within `margin` either side of 1.

        Stricter than two one-sided tests at 5 %, whose interval is one of 90 %.
        """
        if self.low is None or self.high is None:
            return False
        return 1 / (1 + margin) <= self.low and self.high <= 1 + margin


@dataclass(frozen=True)
class RoundRatios:
    """The log ratios of one round (or replicate): one for each accepted block of both."""

    number: int
    logs: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.logs))


def t_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean of at least one value and its two-sided 95 % t interval; of one value, none."""
    data = np.asarray(values, np.float64)
    mean, count = float(data.mean()), len(data)
    if count < 2:
        return mean, None, None
    half = _t_quantile(count - 1, 0.05) * float(data.std(ddof=1)) / math.sqrt(count)
    return mean, mean - half, mean + half


def _t_quantile(freedom: int, missed: float) -> float:
    """Standard errors to either side of a mean that miss the truth in a share of `missed`."""
    special: Any = load("scipy.special", "bench")
    return float(special.stdtrit(freedom, 1 - missed / 2))


def hodges_lehmann(values: Sequence[float]) -> float:
    """The median of the means of all pairs of at least one value, each with itself too."""
    data = np.asarray(values, np.float64)
    rows, columns = np.triu_indices(len(data))
    return float(np.median((data[rows] + data[columns]) / 2))


def latency(session: Session, cell: int) -> Latency | None:
    """Of a cell; None if there is no evidence."""
    rounds = [found.samples_ns() for found in evidence(session, cell)]
    if not rounds:
        return None
    medians = [max(float(np.median(samples)), 1.0) for samples in rounds]
    middle = float(np.median(medians))
    _, low, high = t_interval(np.log(medians).tolist())
    return Latency(
        median_ns=middle,
        # Of rounds in two groups the interval of the mean can miss the median.
        low_ns=None if low is None else min(math.exp(low), middle),
        high_ns=None if high is None else max(math.exp(high), middle),
        rounds=len(rounds),
        samples=summarize([sample for samples in rounds for sample in samples]),
    )


def log_ratios(
    session: Session, cell: int, base: int, *, rejected: bool = False
) -> tuple[RoundRatios, ...]:
    """ln(latency of `cell` / latency of `base`), round by round.

    Where the plan puts both into the same blocks: of their medians in each accepted block.
    Elsewhere: of the medians of their rounds, replicate by replicate. With `rejected`, of
    the rejected blocks too, to see whether they would change a verdict.
    """
    own = evidence(session, cell, rejected=rejected)
    others = evidence(session, base, rejected=rejected)
    pair = _by_block if share_blocks(session, cell, base) else _by_replicate
    return tuple(pair(own, others))


def _by_block(
    own: Sequence[RoundEvidence], others: Sequence[RoundEvidence]
) -> Iterator[RoundRatios]:
    partners = {found.round.number: found for found in others}
    for found in own:
        partner = partners.get(found.round.number)
        if partner is None:
            continue
        bases = {piece.place: _log_median(piece.samples_ns) for piece in partner.pieces}
        logs = tuple(
            _log_median(piece.samples_ns) - bases[piece.place]
            for piece in found.pieces
            if piece.place in bases
        )
        if logs:
            yield RoundRatios(found.round.number, logs)


def _by_replicate(
    own: Sequence[RoundEvidence], others: Sequence[RoundEvidence]
) -> Iterator[RoundRatios]:
    mine, theirs = _replicates(own), _replicates(others)
    for replicate in sorted(mine.keys() & theirs.keys()):
        yield RoundRatios(replicate, (mine[replicate] - theirs[replicate],))


def _replicates(rounds: Sequence[RoundEvidence]) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for each in rounds:
        found.setdefault(each.replicate, []).append(_log_median(each.samples_ns()))
    return {replicate: float(np.mean(logs)) for replicate, logs in found.items()}


def _log_median(samples_ns: Sequence[int]) -> float:
    return math.log(max(float(np.median(samples_ns)), 1.0))


def ratio(session: Session, cell: int, base: int, *, rejected: bool = False) -> Ratio | None:
    """How many times the latency of `base` that of `cell` is; None if they share no evidence.

    The mean over rounds of the rounds' mean log ratios, with a t interval over rounds: a load is
    one sample of memory layout, caches and scheduling, and blocks cannot average it away.
    """
    found = log_ratios(session, cell, base, rejected=rejected)
    if not found:
        return None
    means = [each.mean for each in found]
    middle, low, high = t_interval(means)
    between, within, of_loads = _deviations(found)
    shared = share_blocks(session, cell, base)
    return Ratio(
        ratio=math.exp(middle),
        low=None if low is None else math.exp(low),
        high=None if high is None else math.exp(high),
        rounds=len(found),
        between_sd=between,
        within_sd=within,
        load_sd=of_loads,
        hodges_lehmann=math.exp(hodges_lehmann(means)),
        pairing=Pairing.BLOCK if shared else Pairing.REPLICATE,
        blocks=sum(len(each.logs) for each in found),
    )


def flips(session: Session, cell: int, base: int) -> bool:
    """Whether rejected blocks contradict what `ratio` says: a gate must not decide a verdict.

    They do if with them a difference points the other way, or what is equivalent differs. That
    they make an interval wider is why they were rejected.
    """
    kept = ratio(session, cell, base)
    every = ratio(session, cell, base, rejected=True)
    if kept is None or every is None:
        return False
    turned = kept.differs and (kept.ratio - 1) * (every.ratio - 1) < 0
    return turned or (kept.equivalent() and every.differs and not every.equivalent())


def _deviations(found: Sequence[RoundRatios]) -> tuple[float | None, float | None, float | None]:
    """Between rounds, within them, and of the loads alone: variance components of one factor."""
    freedom = sum(len(each.logs) - 1 for each in found)
    squares = sum(float(np.sum((np.asarray(each.logs) - each.mean) ** 2)) for each in found)
    within = math.sqrt(squares / freedom) if freedom else None
    if len(found) < 2:
        return None, within, None
    between = float(np.std([each.mean for each in found], ddof=1))
    if within is None:
        return between, None, None
    noise = within**2 * float(np.mean([1 / len(each.logs) for each in found]))
    return between, within, math.sqrt(max(between**2 - noise, 0.0))


def find_step(block_medians_ns: Sequence[float]) -> int | None:
    """The block at which latency changed for good, None if it held steady.

    A step has at least `STEP_SIDE` blocks on each side, every block after it is slower (or every
    one faster) than every block before it, and the sides' medians differ by more than `STEP`.
    Of several places the one with the widest gap between the sides is given.
    """
    values = [float(v) for v in block_medians_ns]
    lows, highs = list(accumulate(values, min)), list(accumulate(values, max))
    lows_after = list(accumulate(reversed(values), min))[::-1]
    highs_after = list(accumulate(reversed(values), max))[::-1]
    best: tuple[float, int] | None = None
    for place in range(STEP_SIDE, len(values) - STEP_SIDE + 1):
        gap = max(lows_after[place] - highs[place - 1], lows[place - 1] - highs_after[place])
        if gap > 0 and (best is None or gap > best[0]) and _far(values[:place], values[place:]):
            best = gap, place
    return None if best is None else best[1]


def _far(before: Sequence[float], after: Sequence[float]) -> bool:
    low, high = sorted((median(before), median(after)))
    return high - low > STEP * low
