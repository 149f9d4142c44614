"""Cells: what they answered, whether they ran, where, and on what."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from ..evidence import cell_rounds
from ..protocol.events import Loaded
from ..protocol.plan import Unit
from ..protocol.record import CellRound, RoundRecord, Session
from .findings import Finding, FindingCode, Severity

_NO_AFFINITY = "affinity-not-supported"


def judge_cell(session: Session, cell: int) -> Iterator[Finding]:
    """All that concerns one cell but its times."""
    yield from _answers(session, cell)
    yield from _failures(session, cell)
    yield from _unit(session, cell)
    yield from _same(session, cell)


def _launches(session: Session) -> Sequence[RoundRecord]:
    return (*session.earlier, *session.rounds)


def _answers(session: Session, cell: int) -> Iterator[Finding]:
    judged = [
        (found.number, judgement)
        for found in _launches(session)
        for judgement in found.cells.get(cell, CellRound()).judged
    ]
    wrong = [(number, judgement) for number, judgement in judged if not judgement.passed]
    if wrong:
        worst = wrong[0][1]
        psnr = "" if worst.psnr_db is None else f" ({worst.psnr_db:.1f} dB)"
        note = f": {worst.note}" if worst.note else ""
        yield Finding(
            FindingCode.WRONG_ANSWERS,
            Severity.INVALID,
            f"its answer on {worst.probe or 'a probe'} is wrong{psnr}{note}",
            cell,
            _numbers(number for number, _ in wrong),
        )
    rounds = [(found.number, own) for found, own in cell_rounds(session, cell)]
    planned = {probe.name for probe in session.plan.cells[cell].probes if probe.judged}
    unchecked = _numbers(number for number, own in rounds if not own.judged)
    skipped = _numbers(number for number, own in rounds if own.judged and planned - _probes(own))
    # What a record lacks is said once, for all of it.
    if unchecked and not session.opened.lacks:
        everywhere = len(unchecked) == len(rounds)
        yield Finding(
            FindingCode.ANSWERS_UNCHECKED,
            Severity.WARNING,
            "its answers were not judged" + ("" if everywhere else " in some rounds"),
            cell,
            () if everywhere else unchecked,
        )
    if skipped:
        detail = "its answers on some of its probes were not judged"
        yield Finding(FindingCode.ANSWERS_UNCHECKED, Severity.WARNING, detail, cell, skipped)
    if any(judgement.partial for _, judgement in judged):
        detail = "only a sample of its answers was judged"
        yield Finding(FindingCode.ANSWERS_PARTIAL, Severity.INFO, detail, cell)


def _probes(own: CellRound) -> set[str]:
    return {judgement.probe for judgement in own.judged}


def _numbers(rounds: Iterator[int]) -> tuple[int, ...]:
    return tuple(sorted(set(rounds)))


def _failures(session: Session, cell: int) -> Iterator[Finding]:
    ran = [r for r in session.completed if cell in r.cells]
    failed = [(r.number, own) for r in ran if (own := r.cells[cell].failed) is not None]
    if not failed:
        return
    _, first = failed[0]
    everywhere = len(failed) == len(ran)
    yield Finding(
        FindingCode.CELL_FAILED,
        Severity.INVALID if everywhere else Severity.WARNING,
        f"it failed in {len(failed)} of {len(ran)} rounds: {first.code}"
        + (f", {first.detail}" if first.detail else ""),
        cell,
        _numbers(number for number, _ in failed),
    )


def _loads(session: Session, cell: int) -> list[tuple[int, Loaded]]:
    return [
        (found.number, own.loaded)
        for found, own in cell_rounds(session, cell)
        if own.loaded is not None
    ]


def _unit(session: Session, cell: int) -> Iterator[Finding]:
    asked = session.plan.cells[cell]
    loads = _loads(session, cell)
    accelerator = asked.unit not in (Unit.CPU, Unit.ALL)
    other = [(n, e) for n, e in loads if e.unit not in (None, asked.unit)]
    if asked.unit is not Unit.ALL and other:
        ran = ", ".join(sorted({event.unit.value for _, event in other if event.unit}))
        yield Finding(
            FindingCode.UNIT_DIFFERS,
            Severity.INVALID,
            f"it ran on {ran}, not on {asked.unit.value}",
            cell,
            _numbers(number for number, _ in other),
        )
    if accelerator and any(event.unit is None for _, event in loads):
        detail = f"nobody tells whether it ran on {asked.unit.value}"
        yield Finding(FindingCode.UNIT_UNKNOWN, Severity.WARNING, detail, cell)
    threads = {e.threads for _, e in loads if e.threads not in (None, asked.threads)}
    if threads:
        ran = ", ".join(str(count) for count in sorted(t for t in threads if t is not None))
        detail = f"it ran with {ran} threads, not with {asked.threads}"
        yield Finding(FindingCode.THREADS_DIFFER, Severity.WARNING, detail, cell)
    if asked.cores is not None and _not_pinned(session, cell, loads):
        detail = "the process could not be pinned to the cores that were asked for"
        yield Finding(FindingCode.AFFINITY_NOT_SUPPORTED, Severity.WARNING, detail, cell)


def _not_pinned(session: Session, cell: int, loads: Sequence[tuple[int, Loaded]]) -> bool:
    asked = session.plan.cells[cell].cores or ()
    said = any(
        note.code == _NO_AFFINITY and note.cell in (None, cell)
        for found in session.completed
        for note in found.notes
    )
    return said or any(set(event.cores or ()) != set(asked) for _, event in loads)


_SAME: tuple[tuple[FindingCode, str, Callable[[Loaded], Hashable]], ...] = (
    (FindingCode.PLACEMENT_CHANGED, "its unit", lambda e: e.unit),
    (FindingCode.PLACEMENT_CHANGED, "its threads", lambda e: e.threads),
    (
        FindingCode.PLACEMENT_CHANGED,
        "its cores",
        lambda e: None if e.cores is None else frozenset(e.cores),
    ),
    (
        FindingCode.PLACEMENT_CHANGED,
        "the placement of its operations",
        lambda e: None if e.placement is None else frozenset(e.placement.items()),
    ),
    (
        FindingCode.ENGINE_CHANGED,
        "its engine",
        lambda e: (e.engine.name, e.engine.version, e.engine.backend),
    ),
)


def _same(session: Session, cell: int) -> Iterator[Finding]:
    """Rounds are samples of one thing only if these are equal in all of them."""
    loads = _loads(session, cell)
    for code, what, read in _SAME:
        if len({read(event) for _, event in loads}) > 1:
            first = read(loads[0][1])
            others = _numbers(number for number, event in loads if read(event) != first)
            detail = f"{what} changed between rounds"
            yield Finding(code, Severity.INVALID, detail, cell, others)


_SAID = {
    code.value: code
    for code in (FindingCode.THROTTLED, FindingCode.WARM_UP_CAPPED, FindingCode.NO_STEADY_STATE)
}
"""What a harness may have seen that its record does not show; so older ones did."""
_MOST_NOTED = 20
"""That are told one by one; the record holds all of them."""


def judge_notes(session: Session) -> Iterator[Finding]:
    """What the harness noted, each once for each cell."""
    seen: dict[tuple[str, int | None], tuple[str, list[int]]] = {}
    for found in session.completed:
        for note in found.notes:
            if note.code != _NO_AFFINITY:
                cell = note.cell if note.cell is None or note.cell in found.cells else None
                seen.setdefault((note.code, cell), (note.detail, []))[1].append(found.number)
    noted = 0
    for (code, cell), (detail, numbers) in seen.items():
        known = _SAID.get(code)
        noted += known is None
        if known is None and noted > _MOST_NOTED:
            continue
        text = f"{code}: {detail}" if detail else code
        if known is None:
            yield Finding(FindingCode.NOTED, Severity.INFO, text, cell, _numbers(iter(numbers)))
        else:
            yield Finding(known, Severity.WARNING, detail or code, cell, _numbers(iter(numbers)))
    if noted > _MOST_NOTED:
        more = f"and {noted - _MOST_NOTED} more notes, in the record"
        yield Finding(FindingCode.NOTED, Severity.INFO, more)
