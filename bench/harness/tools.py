"""What a round is measured with: clock, sleep, sensors, engines and the file are parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..protocol.events import Answer, Engine, Event, Reading
from ..protocol.plan import Cell, LoadKind, Probe, Unit


class CellFailure(Exception):
    """A cell cannot be loaded or run; `code` says why, for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class UnsaidError(CellFailure):
    """A line that no round's file may hold. Nothing of it was written."""


class Emit(Protocol):
    """Appends an event; which line it is and when is added there."""

    def __call__(self, kind: type[Event], /, **fields: Any) -> None: ...


@dataclass(frozen=True)
class LoadFacts:
    """What `loaded` says of a cell, beside its number."""

    kind: LoadKind
    load_ns: int
    engine: Engine
    compile_ns: int | None = None
    unit: Unit | None = None
    threads: int | None = None
    cores: tuple[int, ...] | None = None
    placement: dict[str, int] | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class LoadedCell:
    """A cell that can be measured. Whatever its functions raise ends the cell, not the round.

    Attributes:
        infer: one inference on the first probe's inputs, complete when it returns.
        answers: the outputs on a probe.
        enter: is called before this cell's inferences, outside of what is timed; None if it needs
            nothing.
        notes: codes and details of what weakens what is measured.
    """

    facts: LoadFacts
    infer: Callable[[], object]
    answers: Callable[[Probe], list[Answer]]
    enter: Callable[[], None] | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Tools:
    """See the module's docstring.

    Attributes:
        origin_ns: `now_ns` when the harness started.
        now_ns: a monotonic clock, in nanoseconds since any moment.
        sleep_ns: may sleep longer, never shorter.
        cpu_ns: CPU time of the process; None where it cannot be told.
        control: the control kernel, `arithmetic.control` or the same in another guise.
        look: readings; it is given the time since `origin_ns`.
        load: loads a cell; what it raises is the cell's failure.
        emit: appends an event. An UnsaidError ends the cells that the event is about; what else it
            raises ends the round.
    """

    origin_ns: int
    now_ns: Callable[[], int]
    sleep_ns: Callable[[int], None]
    cpu_ns: Callable[[], int] | None
    control: Callable[[int], int]
    look: Callable[[int], tuple[Reading, ...]]
    load: Callable[[int, Cell, LoadKind], LoadedCell]
    emit: Emit
