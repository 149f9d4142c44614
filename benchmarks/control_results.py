"""What A/A sessions found: figures of each session, and of all of them together.

Both cells of a session are one bundle, so every difference that is found is false. Ratios are kept
as natural logarithms; their standard deviations are, for small ones, shares of the latency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from statistics import median
from typing import Literal

import numpy as np
from pydantic import AwareDatetime

from care_mobile.bench.protocol.events import Machine
from care_mobile.bench.protocol.plan import BundleFacts
from care_mobile.bench.protocol.record import Session
from care_mobile.bench.stats import MARGIN, log_ratios, ratio, t_interval
from care_mobile.bench.validity import FindingCode, judge
from care_mobile.frozen import Frozen

from .control_gates import Gated, GateFigures, regated
from .results import Verdict
from .shares import Share, share

SESSIONS = 200
"""From which a share by itself decides whether a figure is reached."""
MOST_DIFFERENT = 0.07
LEAST_WITHIN = 0.9
MOST_SECONDS = 75
MOST_BYTES = 200_000


class ControlSession(Frozen):
    """One session. Logarithms of the ratio of its two cells; without two rounds no interval.

    Attributes:
        block_low: of the interval that takes blocks for evidence.
        between_sd: of rounds, `within_sd` of blocks inside them.
        gates: what other gates would have left; empty if the control kernel was not timed.
        load: the highest one-minute load average that a round saw.
        busy: whether others used the machine, by the rules of validity.
    """

    session: str
    seed: int
    log_ratio: float | None
    low: float | None
    high: float | None
    block_low: float | None
    block_high: float | None
    between_sd: float | None
    within_sd: float | None
    rounds: int
    blocks: int
    rejected: int
    gates: tuple[Gated, ...]
    seconds: int
    record_bytes: int
    load: float | None
    busy: bool


class Group(Frozen):
    """Sessions together; only those with an interval count in the shares.

    `bias` is the mean log ratio, with its 95 % interval over sessions; `half_width` the median of
    the intervals' half widths. Standard deviations are pooled; `load_sd` is what of
    `between_sd` blocks do not explain.
    """

    sessions: int
    different: Share
    different_by_blocks: Share
    within_margin: Share
    bias: float | None
    bias_low: float | None
    bias_high: float | None
    half_width: float | None
    sessions_sd: float | None
    between_sd: float | None
    within_sd: float | None
    load_sd: float | None


class Unit(str, Enum):
    PERCENT = "percent"
    SECONDS = "s"
    KILOBYTES = "kB"


class Goal(Frozen):
    """A figure to reach; `share` is set where it is one, `value` is None if not measured."""

    title: str
    unit: Unit
    value: float | None
    share: Share | None
    verdict: Verdict


class Control(Frozen):
    """Everything one call found. `quiet` are the sessions in which nobody else used the machine.

    `rejected` counts blocks that the gate rejected; `gates` say what others would have done.
    """

    schema_version: Literal[1] = 1
    command: str
    revision: str | None
    created: AwareDatetime
    machine: Machine
    tools: dict[str, str]
    cpu: int
    bundle: BundleFacts
    preset: str
    rounds: int
    blocks: int
    burst_ms: float
    gated: bool
    planned: int
    every: Group
    quiet: Group
    rejected: Share
    gates: tuple[GateFigures, ...]
    seconds: float | None
    quiet_seconds: float | None
    record_bytes: int | None
    load: float | None
    goals: tuple[Goal, ...]
    sessions: tuple[ControlSession, ...]


def session_figures(session: Session, record_bytes: int) -> ControlSession:
    """Of an A/A session whose cells 0 and 1 are one bundle."""
    found = ratio(session, 0, 1)
    rounds = log_ratios(session, 0, 1)
    blocks = [one for each in rounds for one in each.logs]
    interval = t_interval(blocks) if blocks else (None, None, None)
    every = [block for each in session.completed for block in each.blocks]
    return ControlSession(
        session=session.opened.session,
        seed=session.plan.seed,
        log_ratio=_log(found.ratio if found else None),
        low=_log(found.low if found else None),
        high=_log(found.high if found else None),
        block_low=interval[1],
        block_high=interval[2],
        between_sd=found.between_sd if found else None,
        within_sd=found.within_sd if found else None,
        rounds=len(rounds),
        blocks=len(blocks),
        rejected=sum(block.rejected is not None for block in every),
        gates=regated(session),
        seconds=_seconds(session),
        record_bytes=record_bytes,
        load=_load(session),
        busy=any(each.code is FindingCode.MACHINE_BUSY for each in judge(session)),
    )


def _log(value: float | None) -> float | None:
    return None if value is None else math.log(value)


def _seconds(session: Session) -> int:
    """Whole ones, as dates are."""
    if session.closed is None:
        return 0
    started, closed = map(datetime.fromisoformat, map(_offset, _dates(session)))
    return round((closed - started).total_seconds())


def _dates(session: Session) -> tuple[str, str]:
    assert session.closed is not None
    return session.opened.started, session.closed.at


def _offset(date: str) -> str:
    return date.replace("Z", "+00:00")  # Python 3.10 reads no Z


def _load(session: Session) -> float | None:
    seen = (r for each in session.completed for r in each.readings if r.kind == "load")
    return max((r.value / 1000 for r in seen if r.value is not None), default=None)


def group(sessions: Sequence[ControlSession], margin: float = MARGIN) -> Group:
    """Figures of sessions together; of none, empty ones."""
    logs = [each.log_ratio for each in sessions if each.log_ratio is not None]
    bias = t_interval(logs) if logs else (None, None, None)
    halves = [(s.high - s.low) / 2 for s in sessions if s.low is not None and s.high is not None]
    between, within, loads = _deviations(sessions)
    edge = math.log1p(margin)
    return Group(
        sessions=len(sessions),
        different=_counted(sessions, lambda low, high: low > 0 or high < 0),
        different_by_blocks=_counted(sessions, lambda low, high: low > 0 or high < 0, blocks=True),
        within_margin=_counted(sessions, lambda low, high: -edge <= low and high <= edge),
        bias=bias[0],
        bias_low=bias[1],
        bias_high=bias[2],
        half_width=median(halves) if halves else None,
        sessions_sd=float(np.std(logs, ddof=1)) if len(logs) > 1 else None,
        between_sd=between,
        within_sd=within,
        load_sd=loads,
    )


def _counted(
    sessions: Sequence[ControlSession],
    holds: Callable[[float, float], bool],
    blocks: bool = False,
) -> Share:
    intervals = [(s.block_low, s.block_high) if blocks else (s.low, s.high) for s in sessions]
    known = [(low, high) for low, high in intervals if low is not None and high is not None]
    return share(sum(holds(low, high) for low, high in known), len(known))


def _deviations(
    sessions: Sequence[ControlSession],
) -> tuple[float | None, float | None, float | None]:
    """Between rounds, within them and of loads, pooled by degrees of freedom."""
    rounds = [(s.between_sd, s.rounds - 1) for s in sessions]
    between = _pooled([(sd, free) for sd, free in rounds if sd is not None])
    inside = [(s.within_sd, s.blocks - s.rounds) for s in sessions]
    within = _pooled([(sd, free) for sd, free in inside if sd is not None])
    if between is None or within is None:
        return between, within, None
    noise = within**2 * float(np.mean([s.rounds / s.blocks for s in sessions if s.blocks]))
    return between, within, math.sqrt(max(between**2 - noise, 0.0))


def _pooled(deviations: Sequence[tuple[float, int]]) -> float | None:
    freedom = sum(free for _, free in deviations)
    if not freedom:
        return None
    return math.sqrt(sum(sd**2 * free for sd, free in deviations) / freedom)


def goals(every: Group, quiet_seconds: float | None, record_bytes: int | None) -> tuple[Goal, ...]:
    """The figures to reach."""
    return (
        Goal(
            title=f"intervals that exclude 1, at most {100 * MOST_DIFFERENT:.0f} %",
            unit=Unit.PERCENT,
            value=every.different.value,
            share=every.different,
            verdict=judge_share(every.different, MOST_DIFFERENT, at_most=True),
        ),
        Goal(
            title=(
                f"intervals within {100 * MARGIN:.0f} % either side, "
                f"at least {100 * LEAST_WITHIN:.0f} %"
            ),
            unit=Unit.PERCENT,
            value=every.within_margin.value,
            share=every.within_margin,
            verdict=judge_share(every.within_margin, LEAST_WITHIN, at_most=False),
        ),
        Goal(
            title=f"median time of a session on an idle machine, at most {MOST_SECONDS} s",
            unit=Unit.SECONDS,
            value=quiet_seconds,
            share=None,
            verdict=_below(quiet_seconds, MOST_SECONDS),
        ),
        Goal(
            title=f"largest record, below {MOST_BYTES // 1000} kB",
            unit=Unit.KILOBYTES,
            value=None if record_bytes is None else record_bytes / 1000,
            share=None,
            verdict=_below(record_bytes, MOST_BYTES - 1),
        ),
    )


def judge_share(found: Share, limit: float, *, at_most: bool) -> Verdict:
    """From `SESSIONS` sessions the share decides; of fewer, its whole interval has to."""
    if found.value is None:
        return Verdict.NOT_MEASURED
    low, high = (found.value, found.value) if found.total >= SESSIONS else (found.low, found.high)
    good, bad = (high <= limit, low > limit) if at_most else (low >= limit, high < limit)
    if good:
        return Verdict.REACHED
    return Verdict.MISSED if bad else Verdict.UNCERTAIN


def _below(value: float | None, limit: float) -> Verdict:
    if value is None:
        return Verdict.NOT_MEASURED
    return Verdict.REACHED if value <= limit else Verdict.MISSED
