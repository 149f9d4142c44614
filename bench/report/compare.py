"""Which rows differ: each valid one against the fastest, or against its base."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import stats
from ..protocol.plan import Role
from ..protocol.record import Session
from .view import RatioView, Relation, RowView


def compare(session: Session, rows: Sequence[RowView]) -> list[RowView]:
    """The rows with ratios and ranks: the fastest first, or each base before its heads; what cannot
    be compared comes last, as it stands in the plan."""
    valid = sorted((row for row in rows if _comparable(row)), key=_median_ns)
    others = [row for row in rows if not _comparable(row)]
    if any(row.role is Role.HEAD for row in valid):
        return [*_against_bases(session, valid, rows), *others]
    return [*_against_fastest(session, valid), *others]


def _comparable(row: RowView) -> bool:
    return row.valid and row.latency is not None


def _median_ns(row: RowView) -> tuple[int, int]:
    assert row.latency is not None
    return row.latency.median_ns, row.index


def relation_of(found: stats.Ratio, pairs: int = 1) -> Relation:
    """How an interval lies to 1 and to the margin; see `stats.Ratio.differs_among` for `pairs`.

    One within the margin counts as equal even if it excludes 1: a difference that no rig resolves
    is none that anybody should act on.
    """
    if found.equivalent():
        return Relation.EQUAL
    if not found.differs_among(pairs):
        return Relation.UNCLEAR
    return Relation.SLOWER if found.ratio > 1 else Relation.FASTER


def _relation(
    session: Session, row: RowView, base: RowView, found: stats.Ratio, pairs: int
) -> Relation:
    """Unclear too where the blocks that the gate rejected say the contrary."""
    if stats.flips(session, row.index, base.index):
        return Relation.UNCLEAR
    return relation_of(found, pairs)


def _ratio(session: Session, row: RowView, base: RowView, pairs: int = 1) -> RatioView | None:
    if row.index == base.index:
        return _reference(row)
    found = stats.ratio(session, row.index, base.index)
    if found is None:
        return None
    each = stats.log_ratios(session, row.index, base.index)
    return RatioView(
        reference=base.index,
        relation=_relation(session, row, base, found, pairs),
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        replicates=tuple(math.exp(one.mean) for one in each),
        paired=found.pairing.value,
        load_sd=found.load_sd,
    )


def _reference(row: RowView) -> RatioView:
    return RatioView(
        reference=row.index,
        relation=Relation.REFERENCE,
        ratio=1.0,
        low=None,
        high=None,
        replicates=(),
        paired=None,
        load_sd=None,
    )


def _against_fastest(session: Session, valid: Sequence[RowView]) -> list[RowView]:
    pairs = len(valid) * (len(valid) - 1) // 2
    valid = _fastest_first(session, valid, pairs)
    found: list[RowView] = []
    leader, rank = 0, 1  # the place of the first row of the rank, and the rank
    for place, row in enumerate(valid):
        ratio = _ratio(session, row, valid[0], pairs)
        to_leader = ratio if leader == 0 else _ratio(session, row, valid[leader], pairs)
        if to_leader is not None and to_leader.relation is Relation.SLOWER:
            leader, rank = place, place + 1
        known = None if to_leader is None else rank
        found.append(row.model_copy(update={"rank": known, "ratio": ratio}))
    return found


def _fastest_first(session: Session, valid: Sequence[RowView], pairs: int) -> list[RowView]:
    """By medians, but for a row that round by round was faster than the first one: a cell that
    failed in the slow rounds has the lowest median, and is not the fastest for it."""
    order, seen = list(valid), set[int]()
    while order and order[0].index not in seen:
        seen.add(order[0].index)
        found = [(_ratio(session, row, order[0], pairs), row) for row in order[1:]]
        faster = [
            (ratio.ratio, row.index, row)
            for ratio, row in found
            if ratio is not None and ratio.relation is Relation.FASTER and row.index not in seen
        ]
        if faster:
            first = min(faster)[2]
            order = [first, *(row for row in order if row is not first)]
    return order


def _against_bases(
    session: Session, valid: Sequence[RowView], rows: Sequence[RowView]
) -> list[RowView]:
    """Each base, then the rows that are held against it; ranks make no sense across bases.

    A row whose base is invalid is held against nothing: the base that is left is another network's.
    """
    bases = [row for row in rows if row.role is Role.BASE]
    grouped = {row.index: [row] for row in valid if row.role is Role.BASE}
    alone = []
    for row in valid:
        base = base_of(row, bases)
        if row.role is not Role.BASE and base is not None and base.index in grouped:
            grouped[base.index].append(row)
        elif row.role is not Role.BASE:
            alone.append(row)
    found = [
        row.model_copy(update={"ratio": _ratio(session, row, group[0])})
        for group in grouped.values()
        for row in group
    ]
    return [*found, *alone]


def base_of(row: RowView, bases: Sequence[RowView]) -> RowView | None:
    """What a head is held against: the base that ran the same way, of its own name if several
    did; the only base there is; or none."""
    alike = [base for base in bases if _way(base) == _way(row)] or list(bases)
    named = [base for base in alike if base.bundle.name == row.bundle.name]
    kin = [base for base in alike if _kin(base) == _kin(row)]
    for found in (named, kin, alike):
        if len(found) == 1:
            return found[0]
    return None


def _way(row: RowView) -> tuple[object, ...]:
    return row.engine, row.unit_asked, row.threads_asked, row.cores_asked


def _kin(row: RowView) -> tuple[object, ...]:
    facts = row.bundle
    return facts.model, facts.target, facts.precision, facts.resolution
