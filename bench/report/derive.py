"""From a record to its view: every figure that is shown anywhere is made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .. import stats
from ..protocol.plan import Cell
from ..protocol.record import CellRound, RecordKind, RoundRecord, Session
from ..validity import Finding, Severity, invalid, judge
from . import rows
from .compare import compare
from .conclusion import WHOLE, Facts, conclude
from .view import FindingView, RoundView, RowView, SessionView, SkippedView


def session_view(
    session: Session,
    *,
    record: str | None = None,
    skipped: Sequence[SkippedView] = (),
    passed_over: Sequence[SkippedView] = (),
) -> SessionView:
    """All that is shown of a record; `skipped` and `passed_over` are the caller's knowledge."""
    opened, plan = session.opened, session.plan
    findings = judge(session)
    launches = (*session.earlier, *session.rounds)
    labels = unique([cell.label for cell in plan.cells])
    found = [_row(session, index, label, launches, findings) for index, label in enumerate(labels)]
    compared = compare(session, found)
    hello = next((r.hello for r in reversed(session.completed or session.rounds) if r.hello), None)
    blocks = [block for each in session.completed for block in each.blocks]
    rejected = Counter(block.rejected.code for block in blocks if block.rejected is not None)
    shown = _findings(findings)
    return SessionView(
        session=opened.session,
        started=opened.started,
        kind=opened.kind,
        device=opened.device,
        machine=hello.machine if hello else None,
        harness=f"{hello.harness.name} {hello.harness.version}" if hello else None,
        preset=plan.preset,
        seed=plan.seed,
        rounds_completed=len(session.completed),
        rounds_planned=len(plan.rounds),
        blocks_accepted=len(blocks) - rejected.total(),
        blocks_rejected=rejected.total(),
        rejected=dict(sorted(rejected.items())),
        waited_ns=sum(waited.waited_ns for waited in session.waited),
        resumed=len(session.resumed),
        complete=session.closed is not None and not session.missing(),
        ended=session.closed.reason if session.closed else "",
        margin=stats.MARGIN,
        lacks=opened.lacks,
        origin=opened.origin,
        rows=tuple(compared),
        findings=shown,
        lost=tuple(_lost(each) for each in launches if not each.evidence),
        skipped=tuple(skipped),
        passed_over=tuple(passed_over),
        conclusion=conclude(_facts(session, compared, findings)),
        record=record,
    )


def unique(labels: Sequence[str]) -> list[str]:
    """Labels that tell cells apart: one that occurs again gets its number."""
    counts, taken, found = Counter(labels), set(labels), list[str]()
    numbers: Counter[str] = Counter()
    for label in labels:
        told = label
        while counts[label] > 1 and (told == label or told in taken):
            numbers[label] += 1
            told = f"{label} ({numbers[label]})"
        taken.add(told)
        found.append(told)
    return found


def _row(
    session: Session,
    index: int,
    label: str,
    launches: Iterable[RoundRecord],
    findings: Sequence[Finding],
) -> RowView:
    cell = session.plan.cells[index]
    timed = session.opened.kind is not RecordKind.FUNCTIONAL
    every = [each.cells[index] for each in launches if index in each.cells]
    done = [each.cells[index] for each in session.completed if index in each.cells]
    return RowView(
        index=index,
        id=cell.id,
        label=label,
        role=cell.role,
        bundle=cell.bundle,
        **_ran(cell, every),
        valid=not invalid(findings, index),
        rank=None,
        latency=rows.latency(session, index) if timed else None,
        ratio=None,
        loads=rows.loads(session, index) if timed else (),
        memory=rows.memory(session, index) if timed else None,
        warm_up=rows.warm_up(session, index) if timed else None,
        paced=rows.paced(session, index) if timed else None,
        sustained=rows.sustained(session, index) if timed else None,
        single_stream=rows.single_stream(session, index) if timed else None,
        told=rows.told(done) if timed else (),
        answers=rows.answers(every),
        failures=rows.failures(launches, index),
    )


def _ran(cell: Cell, every: Sequence[CellRound]) -> dict[str, object]:
    """As it was asked for and as it was last seen; changes between rounds are findings."""
    loaded = next((own.loaded for own in reversed(every) if own.loaded is not None), None)
    return {
        "engine": loaded.engine.name if loaded else cell.engine,
        "engine_version": loaded.engine.version if loaded else None,
        "backend": loaded.engine.backend if loaded else None,
        "unit_asked": cell.unit,
        "unit_observed": loaded.unit if loaded else None,
        "threads_asked": cell.threads,
        "threads_observed": loaded.threads if loaded else None,
        "cores_asked": cell.cores,
        "cores_observed": loaded.cores if loaded else None,
        "placement": loaded.placement if loaded else None,
    }


def _findings(findings: Iterable[Finding]) -> tuple[FindingView, ...]:
    """What is said of several cells in the same words is said once."""
    about: dict[tuple[str, Severity, str, tuple[int, ...], bool], list[int]] = {}
    for found in findings:
        key = (found.code.value, found.severity, found.detail, found.rounds, found.cell is None)
        rows_of = about.setdefault(key, [])
        if found.cell is not None:
            rows_of.append(found.cell)
    return tuple(
        FindingView(code=code, severity=severity, detail=detail, rounds=rounds, rows=tuple(cells))
        for (code, severity, detail, rounds, _), cells in about.items()
    )


def _lost(found: RoundRecord) -> RoundView:
    return RoundView(round=found.number, status=found.status, code=found.code, detail=found.detail)


def _facts(session: Session, found: Sequence[RowView], findings: Sequence[Finding]) -> Facts:
    bad = _codes(findings, Severity.INVALID)
    return Facts(
        kind=session.opened.kind,
        rows=found,
        margin=stats.MARGIN,
        reasons=bad,
        session_invalid=bad.get(WHOLE, ()),
        warnings=_codes(findings, Severity.WARNING),
        rounds_completed=len(session.completed),
    )


def _codes(findings: Iterable[Finding], severity: Severity) -> dict[int, tuple[str, ...]]:
    """By row; of the session under `WHOLE`."""
    codes: dict[int, dict[str, None]] = {}
    for found in findings:
        if found.severity is severity:
            row = WHOLE if found.cell is None else found.cell
            codes.setdefault(row, {})[found.code.value] = None
    return {row: tuple(each) for row, each in codes.items()}
