"""Checks of the order of lines, beyond what every reader of a round refuses."""

from __future__ import annotations

from typing import Any

from ..protocol.events import (
    Block,
    Checked,
    Control,
    End,
    Event,
    Failed,
    Hello,
    Loaded,
    PacedRun,
    SustainedRun,
    Warm,
)
from .rounds import Absent, Finished

_KINDS: tuple[type[Event], ...] = (
    Hello,
    Control,
    Loaded,
    Warm,
    Block,
    PacedRun,
    SustainedRun,
    Checked,
    End,
)
_STEPS = {kind: place for place, kind in enumerate(_KINDS)}
_LOADING = _STEPS[Loaded]


def order(found: Finished) -> str | None:
    if not found.ended or any(event.cell is None for event in found.all(Failed)):
        raise Absent
    step = 0
    for event in found.events:
        place = _place(event)
        if place is not None and place < step:
            return f"line {event.n + 1}: {_word(event)} comes too late"
        step = place or step
    for kind in (Loaded, Warm, PacedRun, SustainedRun):
        problem = _cells(found, kind)
        if problem is not None:
            return problem
    return _checks(found)


def _word(event: Any) -> str:
    return str(event.event)


def _place(event: Event) -> int | None:
    if isinstance(event, Checked) and event.moment == "before":
        return _LOADING
    return _STEPS.get(type(event))


def _cells(found: Finished, kind: type[Any]) -> str | None:
    """Each cell once, or in one stretch, in the order of loading."""
    events = list(found.all(kind))
    cells: list[int] = [event.cell for event in events]
    if kind is SustainedRun:
        cells = [cell for i, cell in enumerate(cells) if i == 0 or cells[i - 1] != cell]
    living = [cell for cell in cells if cell not in found.failed]
    if events and living != list(found.living):
        return f"{_word(events[0])} comes for cells {cells}, and {list(found.living)} were due"
    return None


def _checks(found: Finished) -> str | None:
    """Answers before stand right behind the load; those after are in the order of loading."""
    loaded: int | None = None
    for event in found.events:
        if isinstance(event, Loaded):
            loaded = event.cell
        elif isinstance(event, Checked) and event.moment == "before" and event.cell != loaded:
            return f"line {event.n + 1}: cell {event.cell} is checked, and {loaded} was loaded"
    after = [event.cell for event in found.all(Checked) if event.moment == "after"]
    places = [found.planned.cells.index(cell) for cell in after]
    if places != sorted(places):
        return f"the last checks are of cells {after}"
    return None
