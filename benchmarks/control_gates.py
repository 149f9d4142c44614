"""What other gates would have made of a session: its record holds rejected blocks too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np

from care_mobile.bench.protocol.events import Block
from care_mobile.bench.protocol.record import Session
from care_mobile.bench.stats import t_interval
from care_mobile.frozen import Frozen

from .shares import Share, share

GATES = (25, 50, 100, 200, None)
"""Permille of the control kernel's time."""


class Gated(Frozen):
    """What a gate would have left of one session: `kept` of `blocks`, and half of its interval."""

    permille: int | None
    blocks: int
    kept: int
    half_width: float | None


class GateFigures(Frozen):
    """The same gate over all sessions: what it rejects, and the median of the half widths."""

    permille: int | None
    rejected: Share
    half_width: float | None


def _drift(block: Block) -> int | None:
    """By how much the control kernel moved, in permille of its shorter time."""
    before_ns, after_ns = block.control_before_ns, block.control_after_ns
    if before_ns is None or after_ns is None:
        return None
    return abs(after_ns - before_ns) * 1000 // max(min(before_ns, after_ns), 1)


def regated(session: Session) -> tuple[Gated, ...]:
    """Each gate; nothing if the control kernel was not timed."""
    blocks = [block for each in session.completed for block in each.blocks]
    if all(_drift(block) is None for block in blocks):
        return ()
    return tuple(_gated(session, permille) for permille in GATES)


def _gated(session: Session, permille: int | None) -> Gated:
    rounds = [[b for b in each.blocks if len(b.bursts) == 2] for each in session.completed]
    kept = [[block for block in blocks if _passes(block, permille)] for blocks in rounds]
    means = [float(np.mean([_log_ratio(b) for b in blocks])) for blocks in kept if blocks]
    interval = t_interval(means) if means else (None, None, None)
    low, high = interval[1], interval[2]
    return Gated(
        permille=permille,
        blocks=sum(map(len, rounds)),
        kept=sum(map(len, kept)),
        half_width=None if low is None or high is None else (high - low) / 2,
    )


def _passes(block: Block, permille: int | None) -> bool:
    drift = _drift(block)
    return permille is None or drift is None or drift <= permille


def _log_ratio(block: Block) -> float:
    times = {burst.cell: median(burst.samples_ns) for burst in block.bursts}
    return math.log(max(times[0], 1) / max(times[1], 1))


def gate_figures(sessions: Iterable[Sequence[Gated]]) -> tuple[GateFigures, ...]:
    """Of all sessions together, whose `regated` are given."""
    every = [one for gates in sessions for one in gates]
    return tuple(
        _gate_figures(permille, [one for one in every if one.permille == permille])
        for permille in GATES
    )


def _gate_figures(permille: int | None, found: Sequence[Gated]) -> GateFigures:
    blocks = sum(each.blocks for each in found)
    halves = [each.half_width for each in found if each.half_width is not None]
    return GateFigures(
        permille=permille,
        rejected=share(blocks - sum(each.kept for each in found), blocks),
        half_width=median(halves) if halves else None,
    )
