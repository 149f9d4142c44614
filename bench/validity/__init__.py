"""Whether a record is evidence: pure functions over it, with typed reasons.

A harness applies only the plan's gate; all else is judged here, when the record is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from care_mobile.text import shortened, visible

from ..protocol.base import MAX_DETAIL
from ..protocol.record import RecordKind, Session
from .answers import judge_cell, judge_notes
from .busy import judge_busy, judge_busy_cell
from .conditions import judge_clock, judge_identity, judge_kind, judge_speed, judge_state
from .enough import judge_blocks, judge_enough, judge_pace, judge_rounds, judge_steadiness
from .findings import Finding, FindingCode, Severity, invalid
from .rules import RULES, Rule

__all__ = ["RULES", "Finding", "FindingCode", "Rule", "Severity", "invalid", "judge"]


def judge(session: Session) -> tuple[Finding, ...]:
    """All that is to be known before the figures of a record are believed, the worst first.

    It never raises, and it never changes its mind: the same record gives the same findings.
    """
    found = (replace(one, detail=_line(one.detail)) for one in _findings(session))
    return tuple(sorted(found, key=lambda finding: finding.severity.rank))


def _line(detail: str) -> str:
    """Some of it comes from a harness."""
    return shortened(visible(" ".join(detail.split())), MAX_DETAIL)


def _findings(session: Session) -> Iterator[Finding]:
    timed = session.opened.kind is not RecordKind.FUNCTIONAL
    yield from judge_kind(session)
    yield from judge_identity(session)
    yield from judge_rounds(session)
    if timed:
        yield from judge_state(session)
        yield from judge_busy(session)
        yield from judge_speed(session)
        yield from judge_blocks(session)
    for cell in range(len(session.plan.cells)):
        yield from judge_cell(session, cell)
        if timed:
            yield from _timed(session, cell)
    yield from judge_notes(session)


def _timed(session: Session, cell: int) -> Iterator[Finding]:
    yield from judge_enough(session, cell)
    yield from judge_busy_cell(session, cell)
    yield from judge_steadiness(session, cell)
    yield from judge_pace(session, cell)
    yield from judge_clock(session, cell)
