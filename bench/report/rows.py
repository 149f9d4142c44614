"""What a record holds of one cell, apart from its comparison with others."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from .. import phases, stats
from ..evidence import cell_rounds, evidence
from ..protocol.record import CellRound, RecordKind, RoundRecord, Session
from .view import (
    AnswerState,
    AnswersView,
    FailureView,
    LatencyView,
    LoadView,
    MemoryView,
    PacedView,
    RoundMedian,
    SingleStreamView,
    StretchView,
    SustainedView,
    ToldView,
    WarmUpView,
)


def latency(session: Session, cell: int) -> LatencyView | None:
    """Of what is evidence; None without any."""
    found = stats.latency(session, cell)
    if found is None:
        return None
    summary = found.samples
    return LatencyView(
        measured=session.opened.kind is not RecordKind.SCRIPTED,
        median_ns=round(found.median_ns),
        low_ns=_rounded(found.low_ns),
        high_ns=_rounded(found.high_ns),
        p10_ns=round(summary.p10_ns),
        p90_ns=round(summary.p90_ns),
        p99_ns=_rounded(summary.p99_ns),
        min_ns=summary.minimum_ns,
        samples=summary.count,
        rounds=tuple(
            RoundMedian(
                round=each.round.number,
                replicate=each.replicate,
                median_ns=round(median(each.samples_ns())),
            )
            for each in evidence(session, cell)
        ),
    )


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def loads(session: Session, cell: int) -> tuple[LoadView, ...]:
    """Load times by kind."""
    return tuple(
        LoadView(
            kind=found.kind,
            loads=found.loading.count,
            median_ns=round(found.loading.median),
            min_ns=found.loading.low,
            max_ns=found.loading.high,
            compile_ns=round(found.compiling.median) if found.compiling else None,
        )
        for found in phases.loads(session, cell)
    )


def memory(session: Session, cell: int) -> MemoryView | None:
    found = phases.memory(session, cell)
    if found is None:
        return None
    alone = [
        own.loaded.memory_bytes
        for each, own in cell_rounds(session, cell)
        if own.loaded is not None
        and own.loaded.memory_bytes is not None
        and session.plan.rounds[each.number].cells[0] == cell
    ]
    return MemoryView(
        alone_bytes=round(median(alone)) if alone else None,
        growth_bytes=round(found.growth.median) if found.growth else None,
        peak_bytes=found.peak_bytes,
    )


def warm_up(session: Session, cell: int) -> WarmUpView | None:
    found = phases.warm_ups(session, cell)
    if found is None:
        return None
    first_ns = round(found.first_ns.median)
    return WarmUpView(rounds=found.rounds, steady=found.steady, first_ns=first_ns)


def paced(session: Session, cell: int) -> PacedView | None:
    found = phases.pace(session, cell)
    if found is None:
        return None
    return PacedView(
        interval_ns=found.interval_ns,
        median_ns=round(found.median_ns),
        p90_ns=round(found.p90_ns),
        samples=found.samples,
        late_share=found.late_share,
        overrun_share=found.overrun_share,
    )


def sustained(session: Session, cell: int) -> SustainedView | None:
    """The longest run."""
    runs = phases.sustained(session, cell)
    if not runs:
        return None
    found = max(runs, key=lambda run: run.duration_ns)
    return SustainedView(
        round=found.round,
        duration_ns=found.duration_ns,
        first_ns=round(found.first_ns),
        last_ns=round(found.last_ns),
        slowdown=found.slowdown,
        samples=found.samples,
        curve=tuple(
            StretchView(at_ns=stretch.at_ns, median_ns=round(stretch.median_ns))
            for stretch in found.curve
        ),
    )


def single_stream(session: Session, cell: int) -> SingleStreamView | None:
    """With the preset that promises it."""
    found = phases.single_stream(session, cell)
    if found is None or session.plan.preset != "mlperf":
        return None
    return SingleStreamView(
        p90_ns=found.p90_ns,
        samples=found.samples,
        duration_ns=found.duration_ns,
        complete=found.complete,
    )


def told(found: Iterable[CellRound]) -> tuple[ToldView, ...]:
    """What another tool says of a cell."""
    return tuple(
        ToldView(
            what=summary.what,
            count=summary.count,
            figure_ns=summary.figure_ns,
            mean_ns=summary.mean_ns,
            median_ns=summary.median_ns,
            min_ns=summary.min_ns,
            max_ns=summary.max_ns,
            p90_ns=summary.p90_ns,
            p99_ns=summary.p99_ns,
        )
        for own in found
        for summary in own.summaries
    )


def answers(found: Iterable[CellRound]) -> AnswersView:
    """Whether the answers were right, in all launches."""
    judged = [judgement for own in found for judgement in own.judged]
    wrong = sum(not judgement.passed for judgement in judged)
    levels = [j.psnr_db for j in judged if j.psnr_db is not None]
    state = AnswerState.WRONG if wrong else AnswerState.VERIFIED
    return AnswersView(
        state=state if judged else AnswerState.UNCHECKED,
        judged=len(judged),
        wrong=wrong,
        worst_psnr_db=min(levels, default=None),
        partial=any(judgement.partial for judgement in judged),
    )


def failures(rounds: Iterable[RoundRecord], cell: int) -> tuple[FailureView, ...]:
    """How a cell failed, each way once."""
    where: dict[tuple[str, str], list[int]] = {}
    for found in rounds:
        own = found.cells.get(cell, CellRound())
        if own.failed is not None:
            where.setdefault((own.failed.code, own.failed.detail), []).append(found.number)
    return tuple(
        FailureView(code=code, detail=detail, rounds=tuple(sorted(set(numbers))))
        for (code, detail), numbers in where.items()
    )
