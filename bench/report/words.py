"""What must be said beside the figures, a line each; for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from care_mobile.text import shortened

from ..protocol.events import Machine, Reality
from ..protocol.record import RecordKind
from .figures import counted, listed, percent, seconds
from .view import FindingView, Relation, RowView, SessionView

LABEL = 60
"""Characters of a name inside a sentence."""
MOST_LOST = 5
MOST_NUMBERS = 10


class Remark(NamedTuple):
    """`level` is `info`, `warning` or `invalid`."""

    level: str
    text: str


def label(row: RowView) -> str:
    """A cell's name for use inside a sentence."""
    return shortened(row.label, LABEL)


def headline(view: SessionView) -> str | None:
    """What a reader must know before any figure."""
    if view.kind is RecordKind.SCRIPTED:
        return "SCRIPTED: every figure was played from a script; nothing was measured."
    if view.kind is RecordKind.FUNCTIONAL:
        return "FUNCTIONAL: this run shows that bundles run and answer, not how fast."
    if view.kind is RecordKind.IMPORTED:
        origin = f" from {view.origin}" if view.origin else ""
        return f"IMPORTED{origin}: measured by another tool, not by this contract."
    return None


def circumstances(view: SessionView) -> Iterator[str]:
    """Where and how: device, rounds and blocks."""
    yield where(view)
    parts = [f"{view.rounds_completed} of {counted(view.rounds_planned, 'round')}"]
    if view.blocks_accepted or view.blocks_rejected:
        parts.append(f"{counted(view.blocks_accepted, 'block')} accepted")
    if view.blocks_rejected:
        why = ", ".join(f"{code} {count}" for code, count in sorted(view.rejected.items()))
        parts.append(f"{view.blocks_rejected} rejected ({why})")
    if view.waited_ns:
        parts.append(f"{seconds(view.waited_ns)} of cooling down")
    if view.resumed:
        parts.append("resumed" if view.resumed == 1 else f"resumed {view.resumed} times")
    if view.rounds_completed < view.rounds_planned and view.kind is not RecordKind.IMPORTED:
        parts.append(f"unfinished{f' ({view.ended})' if view.ended else ''}: --resume goes on")
    if view.kind is not RecordKind.IMPORTED:
        parts += [f"preset {view.preset}", f"seed {view.seed}"]
    yield ", ".join(parts)


def where(view: SessionView) -> str:
    """The device, and what is known of the machine."""
    return f"{_device(view)}: {_machine(view.machine)}"


def _device(view: SessionView) -> str:
    kind = "somewhere" if view.device.kind in _NOT_TOLD else view.device.kind
    serial = f" {view.device.serial}" if view.device.serial else ""
    host = f" at {view.device.host}" if view.device.host else ""
    return f"{kind}{serial}{host}"


_REALITIES = {
    Reality.VIRTUAL: ", virtual machine",
    Reality.SIMULATOR: ", a simulator",
    Reality.EMULATOR: ", an emulator",
    Reality.INTERPRETER: ", an interpreter",
    Reality.SCRIPT: ", played from a script",
    Reality.UNKNOWN: ", physical or virtual is not known",
}


_NOT_TOLD = frozenset(("", "unknown", "none"))


def _machine(machine: Machine | None) -> str:
    """What is known of it."""
    if machine is None:
        return "the machine is not known"
    names = [name for name in (machine.model, machine.soc) if name not in _NOT_TOLD]
    if machine.cores is not None:
        names.append(counted(machine.cores, "core"))
    known = ", ".join(names) or "the machine is not known"
    system = f", {machine.os}" if machine.os not in _NOT_TOLD else ""
    return f"{known}{_REALITIES.get(machine.reality, '')}{system}"


def legend(view: SessionView) -> Iterator[str]:
    """How the marks and intervals are read; only what occurs."""
    measured = [row for row in view.rows if row.latency is not None]
    relations = {row.ratio.relation for row in view.rows if row.ratio is not None}
    if any(row.latency and row.latency.low_ns is not None for row in measured):
        yield "[low, high]: 95 % interval over rounds; a round is a fresh start of everything."
    if relations - {Relation.REFERENCE}:
        yield f"{against(view)}: times as long, compared round by round."
    if Relation.EQUAL in relations:
        yield f"~ does not differ: the interval lies within {percent(view.margin)} either way."
    if Relation.UNCLEAR in relations:
        yield "? cannot be told: the interval is too wide, or there is none."
    yield from _among_many(view)


def _among_many(view: SessionView) -> Iterator[str]:
    """What many comparisons do to each of them."""
    relations = [row.ratio.relation for row in view.rows if row.ratio is not None]
    compared = sum(relation is not Relation.REFERENCE for relation in relations)
    if against(view) == "vs base":
        if compared >= 5:
            yield (
                f"Each of {compared} intervals may miss on its own: of 20 equal cells one is "
                "expected to look different."
            )
    elif compared >= 2:
        yield (
            f"Each of {compared} intervals may miss on its own, and luck decides who is the "
            "fastest: a difference counts only if it is too large for the luckiest of all pairs."
        )


def against(view: SessionView) -> str:
    """The title of the column of ratios."""
    roles = any(row.ratio and row.role.value == "head" for row in view.rows)
    return "vs base" if roles else "vs fastest"


def caveats(view: SessionView) -> Iterator[str]:
    """What the figures do not mean."""
    if any(row.bundle.random_weights for row in view.rows):
        yield "Random weights: these figures measure speed, never accuracy."
    if view.device.kind == "desktop" and view.kind is RecordKind.LATENCY:
        yield "Desktop figures compare bundles on this machine; they are not a phone's."


def remarks(view: SessionView) -> Iterator[Remark]:
    """Validity, and what was left out: the worst first."""
    for finding in view.findings:
        yield Remark(finding.severity.value, _finding(view, finding))
    for lost in view.lost[:MOST_LOST]:
        why = ": ".join(part for part in (lost.code, _told(lost.detail)) if part)
        told = f"round {lost.round + 1} {lost.status.value}"
        yield Remark("info", f"{told}: {why}" if why else told)
    if len(view.lost) > MOST_LOST:
        yield Remark("info", f"and {len(view.lost) - MOST_LOST} more launches, in the record")
    for kind, group in (("skipped", view.skipped), ("passed over", view.passed_over)):
        for found in group:
            remedy = f"; try: {found.remedy}" if found.remedy else ""
            yield Remark("info", f"{kind}: {shortened(found.name, 200)}: {found.reason}{remedy}")


def _told(detail: str) -> str:
    """In one line, which somebody else's words cannot leave to look like ours."""
    return shortened(" ".join(detail.split()), 400)


def _finding(view: SessionView, finding: FindingView) -> str:
    whose = _whose(view, finding.rows)
    detail = f": {_told(finding.detail)}" if finding.detail else ""
    return f"{whose}{finding.code}{detail}{_rounds(finding.rounds)}"


def _whose(view: SessionView, rows: tuple[int, ...]) -> str:
    if not rows:
        return ""
    if 1 < len(rows) == len(view.rows):
        return "all cells: "
    return f"{listed([label(view.row(index)) for index in rows])}: "


def _rounds(numbers: Iterable[int]) -> str:
    told = [str(number + 1) for number in sorted(numbers)]
    if not told:
        return ""
    if len(told) > MOST_NUMBERS:
        return f" ({len(told)} rounds, {told[0]} to {told[-1]})"
    return f" (round {told[0]})" if len(told) == 1 else f" (rounds {', '.join(told)})"
