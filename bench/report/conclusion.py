"""One sentence: what can be said of a session, or why nothing can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..protocol.plan import Role
from ..protocol.record import RecordKind
from .figures import counted, interval, latency, listed, percent
from .view import AnswerState, ConclusionView, RatioView, Relation, RowView
from .words import label

_MOST_NAMED = 3
WHOLE = -1
"""In place of a row: the session."""


class Facts(NamedTuple):
    """What the sentence rests on; `reasons` are codes of what made a row invalid, `warnings` of
    what has to be read with the figures of a row, or with all under -1."""

    kind: RecordKind
    rows: Sequence[RowView]
    margin: float
    reasons: dict[int, tuple[str, ...]]
    session_invalid: tuple[str, ...]
    warnings: dict[int, tuple[str, ...]]
    rounds_completed: int


def conclude(facts: Facts) -> ConclusionView:
    """The sentence, and a code for programs."""
    found = _nothing(facts) or _warned(_complete(_comparison(facts), facts), facts)
    if facts.kind is RecordKind.SCRIPTED:
        return found.model_copy(update={"text": f"Scripted, not measured: {found.text}"})
    return found


def _complete(found: ConclusionView, facts: Facts) -> ConclusionView:
    """The sentence with what it leaves out: of three cells two were compared, and why."""
    left_out = _unusable(facts) if found.code in ("differs", "equal", "unclear") else ""
    if not left_out:
        return found
    text = f"{found.text.removesuffix('.')}; {left_out}."
    return found.model_copy(update={"text": text})


def _warned(found: ConclusionView, facts: Facts) -> ConclusionView:
    """The sentence with what weakens it: nobody reads it alone and is misled."""
    if found.code not in ("differs", "equal", "one-cell"):
        return found
    # Of more than two the sentence tells of all that are compared, though `rows` names few.
    several = [row for row in facts.rows if row.ratio is not None]
    about = (WHOLE, *((row.index for row in several) if len(several) > 2 else found.rows))
    codes = list(dict.fromkeys(code for row in about for code in facts.warnings.get(row, ())))
    if not codes:
        return found
    text = f"{found.text.removesuffix('.')}; see the warnings: {_few(codes)}."
    return found.model_copy(update={"text": text})


def _nothing(facts: Facts) -> ConclusionView | None:
    """Why nothing can be said, if that is so."""
    if facts.kind is RecordKind.FUNCTIONAL:
        return ConclusionView(code="functional", text=_functional(facts.rows))
    if facts.session_invalid:
        why = ", ".join(facts.session_invalid)
        text = f"Nothing can be said: the session is invalid ({why})."
        return ConclusionView(code="invalid", text=text)
    measured = [row for row in facts.rows if row.latency is not None]
    if not measured:
        return ConclusionView(code="nothing-measured", text=_why_none(facts))
    valid = [row for row in measured if row.valid]
    if not valid or (len(valid) == 1 and len(facts.rows) > 1):
        only = f"only {label(valid[0])} is valid: " if valid else ""
        text = f"Nothing can be compared: {only}{_unusable(facts)}."
        return ConclusionView(code="invalid", text=text)
    return None


def _comparison(facts: Facts) -> ConclusionView:
    valid = [row for row in facts.rows if row.valid and row.latency is not None]
    if len(facts.rows) == 1:
        return _alone(valid[0])
    compared = [row for row in valid if _compares(row)]
    if not compared:
        return _apart(valid)
    if all(row.ratio is not None and row.ratio.low is None for row in compared):
        return _one_round(valid)
    heads = [row for row in compared if row.role is Role.HEAD]
    if heads:
        return _pair(heads[0], facts) if len(heads) == 1 else _of_roles(heads)
    return _pair(compared[0], facts) if len(valid) == 2 else _many(valid, compared)


def _compares(row: RowView) -> bool:
    return row.ratio is not None and row.ratio.relation is not Relation.REFERENCE


def _functional(rows: Sequence[RowView]) -> str:
    right = sum(row.answers.state is AnswerState.VERIFIED for row in rows)
    wrong = sum(row.answers.state is AnswerState.WRONG for row in rows)
    parts = [f"{right} of {counted(len(rows), 'cell')} answered rightly"]
    if wrong:
        parts.append(f"{wrong} wrongly")
    if len(rows) - right - wrong:
        parts.append(f"{len(rows) - right - wrong} unchecked")
    return f"A functional run measures no latency: {', '.join(parts)}."


def _why_none(facts: Facts) -> str:
    failed = [label(row) for row in facts.rows if row.failures]
    also = f"; {_few(failed)} failed" if failed else ""
    if any(row.told for row in facts.rows):
        return f"Only another tool's own figures are there, no samples: nothing to compare{also}."
    if failed:
        return f"Nothing was measured: {_few(failed)} failed."
    return f"Nothing was measured{'' if facts.rounds_completed else ': no round was completed'}."


def _unusable(facts: Facts) -> str:
    parts = []
    for row in facts.rows:
        if row.failures and row.latency is None:
            parts.append(f"{label(row)} failed ({row.failures[0].code})")
        elif not row.valid:
            why = ", ".join(facts.reasons.get(row.index, ())) or "see above"
            parts.append(f"{label(row)} is invalid ({why})")
        elif row.latency is None:
            parts.append(f"{label(row)} was not measured")
        elif row.ratio is None and len(facts.rows) > 1:
            parts.append(f"{label(row)} was compared with nothing")
    return _few(parts)


def _few(parts: list[str]) -> str:
    if len(parts) <= _MOST_NAMED + 1:
        return listed(parts)
    return f"{', '.join(parts[:_MOST_NAMED])} and {len(parts) - _MOST_NAMED} more"


def _alone(row: RowView) -> ConclusionView:
    assert row.latency is not None
    median, _, bounds = latency(row.latency).partition(" ")
    took = f"{median} ms {bounds}".rstrip()
    return ConclusionView(
        code="one-cell",
        text=f"{label(row)} took {took}; there is nothing to compare it with.",
        rows=(row.index,),
    )


def _apart(valid: Sequence[RowView]) -> ConclusionView:
    heads = [row for row in valid if row.role is Role.HEAD]
    names = _few([label(row) for row in heads or valid])
    why = "no valid base goes with" if heads else "no round holds more than one of"
    return ConclusionView(
        code="not-comparable",
        text=f"Nothing can be compared: {why} {names}.",
        rows=tuple(row.index for row in valid),
    )


def _one_round(valid: Sequence[RowView]) -> ConclusionView:
    names = _few([label(row) for row in valid])
    return ConclusionView(
        code="one-round",
        text=f"Which of {names} is faster cannot be told from one round: a load is one sample.",
        rows=tuple(row.index for row in valid),
    )


def _pair(row: RowView, facts: Facts) -> ConclusionView:
    """Of a row and the one that it is compared with; the one with the lower latency first."""
    assert row.ratio is not None
    other = next(each for each in facts.rows if each.index == row.ratio.reference)
    first, second, found = other, row, row.ratio
    if found.ratio < 1 and found.relation is not Relation.EQUAL:
        first, second, found = row, other, _turned(found)
    return ConclusionView(
        code=_CODES.get(found.relation, "differs"),
        text=_told(first, second, found, facts.margin),
        rows=(first.index, second.index),
    )


_CODES: dict[Relation, Literal["equal", "unclear"]] = {
    Relation.EQUAL: "equal",
    Relation.UNCLEAR: "unclear",
}


def _told(first: RowView, second: RowView, found: RatioView, margin: float) -> str:
    names = f"{label(first)} and {label(second)}"
    figure = interval(found.ratio, found.low, found.high)
    if found.relation is Relation.EQUAL:
        return f"{names} do not differ: {figure}, within ±{percent(margin)}."
    if found.relation is Relation.UNCLEAR:
        return f"Whether {names} differ cannot be told: {figure}{_why_unclear(found)}."
    return f"{label(first)} ran {figure} times faster than {label(second)}."


def _why_unclear(found: RatioView) -> str:
    if found.low is None or found.high is None:
        return ", without an interval"
    if found.low > 1 or found.high < 1:
        return ", but rejected blocks or the robust estimate say the contrary"
    return "; more rounds would narrow it"


def _turned(found: RatioView) -> RatioView:
    """The same comparison seen from the other side."""
    low, high = found.low, found.high
    return found.model_copy(
        update={
            "ratio": 1 / found.ratio,
            "low": 1 / high if high else None,
            "high": 1 / low if low else None,
        }
    )


def _many(valid: Sequence[RowView], compared: Sequence[RowView]) -> ConclusionView:
    """Of more than two: the fastest, what does not differ from it, and the next that does."""
    best = next(row for row in valid if row.ratio and row.ratio.relation is Relation.REFERENCE)
    equal, unclear, slower, faster = (
        [row for row in compared if row.ratio and row.ratio.relation is relation]
        for relation in (Relation.EQUAL, Relation.UNCLEAR, Relation.SLOWER, Relation.FASTER)
    )
    if faster:  # rounds that a cell lost can make a ring of them
        text = f"Which of {len(valid)} is the fastest cannot be told: the rounds contradict it."
        return ConclusionView(code="unclear", text=text, rows=tuple(row.index for row in valid))
    parts = []
    if equal:
        verb = "does" if len(equal) == 1 else "do"
        parts.append(f"{_few([label(row) for row in equal])} {verb} not differ from it")
    if unclear:
        parts.append(f"of {_few([label(row) for row in unclear])} it cannot be told")
    if slower:
        found = slower[0].ratio
        assert found is not None
        figure = interval(found.ratio, found.low, found.high)
        parts.append(f"it ran {figure} times faster than {label(slower[0])}, the next")
    return ConclusionView(
        code="differs" if slower else "unclear" if unclear else "equal",
        text=f"{label(best)} {_leads(best, valid)} of {len(valid)}: {'; '.join(parts)}.",
        rows=(best.index, *(row.index for row in slower[:1])),
    )


def _leads(best: RowView, valid: Sequence[RowView]) -> str:
    medians = [row.latency.median_ns for row in valid if row.latency is not None]
    lowest = best.latency is not None and best.latency.median_ns == min(medians)
    return "has the lowest median" if lowest else "was the fastest, round by round,"


_WORDS = (
    (Relation.SLOWER, "slower"),
    (Relation.FASTER, "faster"),
    (Relation.EQUAL, "not different"),
    (Relation.UNCLEAR, "unclear"),
)


def _of_roles(heads: Sequence[RowView]) -> ConclusionView:
    counts = Counter(row.ratio.relation for row in heads if row.ratio is not None)
    told = ", ".join(f"{counts[relation]} {word}" for relation, word in _WORDS if counts[relation])
    differs = counts[Relation.SLOWER] + counts[Relation.FASTER]
    return ConclusionView(
        code="differs" if differs else "unclear" if counts[Relation.UNCLEAR] else "equal",
        text=f"Of {counted(len(heads), 'cell')} held against base: {told}.",
        rows=tuple(row.index for row in heads),
    )
