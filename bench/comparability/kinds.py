"""What a field of the comparison key is, and when a record does not know one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from ..protocol.foreign import UNKNOWN, Lack
from ..protocol.record import RecordKind, Session

Values = tuple[str, ...]
"""All that a session saw, sorted: one if it held still, none if it is not known."""


class Rule(str, Enum):
    """What a difference does to a comparison."""

    MUST_EQUAL = "must be equal"
    WARN = "warn"
    IGNORE = "ignore"


class Scope(str, Enum):
    """`CELL` fields tell the cells of one session apart; `SESSION` ones are of all of them."""

    CELL = "cell"
    SESSION = "session"


@dataclass(frozen=True)
class KeyField:
    """One field of the comparison key.

    `unknown` is the rule where one of the two does not know it, `neither` where none does.
    `same_network` replaces the rule where the same network is expected on both sides.
    """

    name: str
    scope: Scope
    rule: Rule
    reason: str
    read: Callable[[Session, int], Iterable[object]]
    unknown: Rule
    neither: Rule
    same_network: Rule | None = None

    def values(self, session: Session, cell: int) -> Values:
        """What a session says; nothing if it says that it does not know."""
        opened = session.opened
        unknown = _LACKING.get(RecordKind.IMPORTED.value, ()) if _imported(session) else ()
        unknown = (*unknown, *(name for lack in opened.lacks for name in _LACKING.get(lack, ())))
        if any(self.name == name or self.name.startswith(f"{name}.") for name in unknown):
            return ()
        found = {_text(value) for value in self.read(session, cell)}
        return tuple(sorted(found - UNTOLD))


def _imported(session: Session) -> bool:
    return session.opened.kind is RecordKind.IMPORTED


UNTOLD = frozenset(("", UNKNOWN))
_LACKING: Mapping[str, tuple[str, ...]] = {
    RecordKind.IMPORTED.value: (
        "bundle.random_weights",
        "plan.burst",
        "plan.sustained",
        "plan.warmup",
        "plan.gate",
        "plan.preset",
    ),
    Lack.NO_CONTENT.value: ("bundle.content_sha256",),
    Lack.NO_DATE.value: ("started",),
    Lack.NO_ENGINE_VERSION.value: ("engine.version",),
    Lack.NO_MACHINE.value: ("machine.model",),
    Lack.NO_OS_BUILD.value: ("machine.os_build",),
    Lack.NO_THREADS.value: ("threads",),
    Lack.NO_UNIT.value: ("unit",),
    Lack.NO_WARM_UP.value: ("plan.warmup",),
}
"""Fields that hold what a plan has to hold, where the tool told nothing: by what a record lacks."""


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value) or "none"
    return str(value)
