"""A round's file as read, and the rule that is to blame if it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..protocol.events import Event, Failed, Warm
from ..protocol.plan import Plan, Round
from ..protocol.reading import ProtocolError, read_round
from .cases import Case

E = TypeVar("E", bound=Event)

_BLAMED = {
    "check-missing": "answers",
    "garbled": "lines",
    "too-large": "lines",
    "no-hello": "hello",
    "stale": "hello",
    "other-version": "hello",
    "out-of-order": "numbering",
    "after-end": "numbering",
    "lines-missing": "numbering",
    "time-went-back": "clock",
    "too-many-attempts": "retries",
}
"""Everything else is the order of lines."""


class Absent(Exception):
    """A round has nothing that would show a rule."""


@dataclass(frozen=True)
class Finished:
    """A round that was read: its case, its events, and how long the launch took for the host."""

    case: Case
    plan: Plan
    planned: Round
    events: tuple[Event, ...]
    ended: bool
    elapsed_ns: int

    def all(self, kind: type[E]) -> Iterator[E]:
        return (event for event in self.events if isinstance(event, kind))

    def beside(self, event: Event, step: int) -> Event:
        """The known line so many lines after one, or before it if negative."""
        return self.events[self.events.index(event) + step]

    @cached_property
    def failed(self) -> frozenset[int]:
        """Cells that failed."""
        return frozenset(e.cell for e in self.all(Failed) if e.cell is not None)

    @cached_property
    def living(self) -> tuple[int, ...]:
        """The others, in the order of loading."""
        return tuple(cell for cell in self.planned.cells if cell not in self.failed)

    @cached_property
    def warm(self) -> dict[int, Warm]:
        return {event.cell: event for event in self.all(Warm)}


@dataclass(frozen=True)
class Unreadable:
    """Which rule was broken, and how."""

    rule: str
    problem: str


def read(file: Path, case: Case, launch: str, elapsed_ns: int) -> Finished | Unreadable:
    """The round in `file`, which exists."""
    plan, planned = case.read, case.planned
    try:
        found = read_round(file, plan, planned, launch)
    except ProtocolError as error:
        return Unreadable(_BLAMED.get(error.code, "order"), str(error))
    except OSError as error:
        return Unreadable("lines", f"the file cannot be read: {error.strerror}")
    return Finished(case, plan, planned, found.events, found.ended, elapsed_ns)
