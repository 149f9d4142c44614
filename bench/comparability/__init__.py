"""Whether two records can be compared: what of them is looked at, as data.

Within one session cells are measured side by side, whatever tells them apart is the question, and
`stats.ratio` answers it. Between sessions there is only what both say of themselves: a field of
the comparison key has to be equal, or is worth a warning, or is no identity at all. The table is in
`docs/measuring.md`; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..protocol.record import Session
from .fields import FIELDS
from .kinds import KeyField, Rule, Scope, Values

__all__ = [
    "FIELDS",
    "Difference",
    "KeyField",
    "Rule",
    "Scope",
    "Values",
    "compare_keys",
    "comparison_key",
    "refused",
    "warned",
]


@dataclass(frozen=True)
class Difference:
    """A field that is not shown to be equal. An empty side does not know."""

    field: str
    rule: Rule
    reason: str
    a: Values
    b: Values

    @property
    def unknown(self) -> bool:
        """Whether the difference is that somebody does not know."""
        return not self.a or not self.b


def comparison_key(session: Session, cell: int) -> dict[str, Values]:
    """What a record says of a cell, by field; nothing where it does not know."""
    return {field.name: field.values(session, cell) for field in FIELDS}


def compare_keys(
    a: Session, b: Session, cell_a: int, cell_b: int, *, same_network: bool = False
) -> tuple[Difference, ...]:
    """Every field that is not shown to be equal, with the rule that decides what that means.

    Fields that tell cells of one session apart are ignored within it: they are what is compared.
    """
    together = a.opened.session == b.opened.session
    return tuple(_differences(a, b, cell_a, cell_b, same_network, together))


def _differences(
    a: Session, b: Session, cell_a: int, cell_b: int, same_network: bool, together: bool
) -> Iterator[Difference]:
    for field in FIELDS:
        left, right = field.values(a, cell_a), field.values(b, cell_b)
        if left == right and (left or together):
            continue
        rule = _rule(field, left, right, same_network)
        if together and field.scope is Scope.CELL and not (same_network and field.same_network):
            rule = Rule.IGNORE
        if not left and not right and rule is Rule.IGNORE:
            continue
        yield Difference(field.name, rule, field.reason, left, right)


def _rule(field: KeyField, left: Values, right: Values, same_network: bool) -> Rule:
    if same_network and field.same_network is not None:
        return field.same_network
    if left and right:
        return field.rule
    return field.unknown if left or right else field.neither


def refused(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those for which two records cannot be compared."""
    return tuple(found for found in differences if found.rule is Rule.MUST_EQUAL)


def warned(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those that have to be said beside a comparison."""
    return tuple(found for found in differences if found.rule is Rule.WARN)
