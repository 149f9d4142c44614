"""Where in a record the values of a field are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..evidence import cell_rounds, in_blocks
from ..protocol.events import Hello, Loaded
from ..protocol.plan import Cell
from ..protocol.record import Session
from .kinds import UNTOLD


def from_plan(read: Callable[[Cell], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        yield read(session.plan.cells[cell])

    return values


def from_loads(read: Callable[[Loaded], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        for _, own in cell_rounds(session, cell):
            if own.loaded is not None:
                yield read(own.loaded)

    return values


def from_hello(read: Callable[[Hello], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        for found, _ in cell_rounds(session, cell):
            if found.hello is not None:
                yield read(found.hello)

    return values


def states(kind: str) -> Callable[[Session, int], Iterator[object]]:
    """The states of a sensor in the rounds of a cell."""

    def values(session: Session, cell: int) -> Iterator[object]:
        for found, _ in cell_rounds(session, cell):
            for reading in found.readings:
                if reading.kind == kind:
                    yield reading.state if reading.state is not None else reading.value

    return values


def from_record(read: Callable[[Session], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        yield read(session)

    return values


def phase(session: Session, cell: int) -> Iterator[object]:
    yield "bursts" if in_blocks(session, cell) else "sustained"


def sustained(session: Session, cell: int) -> Iterator[object]:
    """How long, where the figure is that of sustained runs."""
    rules = session.plan.sustained
    if rules is not None and not in_blocks(session, cell):
        yield rules.duration_ns, rules.min_count


def neighbours(session: Session, cell: int) -> Iterator[object]:
    for planned in session.plan.rounds:
        if cell in planned.cells:
            yield len(planned.cells) - 1


def model_of(hello: Hello) -> object:
    model = hello.machine.model
    return hello.machine.soc if model in UNTOLD else model


def placement_of(loaded: Loaded) -> object:
    if loaded.placement is None:
        return None
    return tuple(f"{unit} {count}" for unit, count in sorted(loaded.placement.items()))


def tools_of(session: Session) -> object:
    return tuple(f"{name} {version}" for name, version in sorted(session.opened.tools.items()))
