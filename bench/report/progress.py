"""How far a session is, from the lines of its record and a harness's events as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import rich.table
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from care_mobile.text import shortened

from ..protocol.arithmetic import median_ns
from ..protocol.base import Contract
from ..protocol.events import (
    Block,
    Checked,
    Control,
    End,
    Failed,
    Hello,
    Loaded,
    PacedRun,
    Read,
    Reading,
    SustainedRun,
    Warm,
)
from ..protocol.plan import Phase, Plan, Round
from ..protocol.record import (
    Closed,
    Landed,
    Launched,
    RecordKind,
    RoundStatus,
    SessionOpened,
    Waited,
)
from .figures import counted, ms, seconds

REDRAW_NS = 500_000_000
"""Least time between two drawings: on a small machine they take time from what is measured."""
MAX_SHOWN = 8
LABEL = 40


@dataclass
class Progress:
    """What is going on. `saw` takes every line in order; drawing it is up to its owner."""

    clock: Callable[[], int] = time.monotonic_ns
    plan: Plan | None = None
    phase: str = "starting"
    landed: int = 0
    lost: int = 0
    rejected: int = 0
    failed: str = ""
    temperature_mdeg: int | None = None
    thermal: str | None = None
    _timed: bool = True
    _round: Round | None = None
    _steps: int = 0
    _medians: dict[int, list[int]] = field(default_factory=dict)
    _launched_ns: int = 0
    _took_ns: list[int] = field(default_factory=list)

    def saw(self, event: Contract) -> None:
        """Take note of a line."""
        if isinstance(event, SessionOpened):
            self.plan = event.plan
            self._timed = event.kind is not RecordKind.FUNCTIONAL
        elif isinstance(event, Launched):
            self._launch(event)
        elif isinstance(event, Landed):
            self._land(event)
        elif isinstance(event, Waited):
            why = shortened(" ".join(event.reason.split()), LABEL)
            self.phase = f"cooling down for {seconds(event.waited_ns)}: {why}"
        elif isinstance(event, Closed):
            self.phase = "done"
        elif isinstance(event, Block):
            self._block(event)
        else:
            self._other(event)
        self._look(_readings(event))

    @property
    def number(self) -> int | None:
        """Of the round that is running."""
        return None if self._round is None else self._round.number

    def share(self) -> float:
        """How much is done, from 0 to 1: rounds, and the steps of the one that is running."""
        if self.plan is None:
            return 0.0
        done = 0 if self._round is None else self._round.number
        part = min(self._steps / self._planned_steps(), 1.0) if self._round else 0.0
        return min((done + part) / len(self.plan.rounds), 1.0)

    def left_ns(self) -> int | None:
        """About how long it still takes: as long per round as those that landed; None before."""
        if self.plan is None or self._round is None or not self._took_ns:
            return None
        each = sum(self._took_ns) // len(self._took_ns)
        ahead = len(self.plan.rounds) - self._round.number
        return max(ahead * each - (self.clock() - self._launched_ns), 0)

    def median_ns(self, cell: int) -> int | None:
        """Of a cell's accepted bursts so far: the median of their medians."""
        found = self._medians.get(cell)
        return median_ns(found) if found else None

    def _launch(self, event: Launched) -> None:
        if self.plan is not None and event.round < len(self.plan.rounds):
            self._round = self.plan.rounds[event.round]
        self._steps, self.phase = 0, "starting"
        self._launched_ns = self.clock()

    def _land(self, event: Landed) -> None:
        if self._round is not None:
            self._steps = self._planned_steps()
        if event.status is RoundStatus.COMPLETED:
            self.landed += 1
            self._took_ns.append(self.clock() - self._launched_ns)
        else:
            self.lost += 1
        self.phase = f"round {event.round + 1} {event.status.value}"

    def _block(self, event: Block) -> None:
        if event.rejected is not None:
            self.rejected += 1
            self.phase = f"block {event.block + 1} rejected: {event.rejected.code}"
            return
        self._steps += 1
        self.phase = f"block {event.block + 1}{self._of_blocks()}"
        for burst in event.bursts:
            if self.plan is not None and burst.cell >= len(self.plan.cells):
                continue  # nobody has checked these lines yet
            self._medians.setdefault(burst.cell, []).append(median_ns(burst.samples_ns))

    def _of_blocks(self) -> str:
        return f" of {len(self._round.blocks)}" if self._round is not None else ""

    def _other(self, event: Contract) -> None:
        if isinstance(event, Hello | Control):
            self.phase = "loading"
        elif isinstance(event, Loaded | Checked):
            self._step(event.cell, "loading and checking")
        elif isinstance(event, Warm):
            self._step(event.cell, "warming up")
        elif isinstance(event, PacedRun):
            self._step(event.cell, "paced")
        elif isinstance(event, SustainedRun):
            self.phase = f"sustained: {self._name(event.cell)} {ms(median_ns(event.samples_ns))} ms"
        elif isinstance(event, Failed):
            who = "the launch" if event.cell is None else self._name(event.cell)
            self.failed = f"{who}: {event.code}"
            self.phase = f"failed: {self.failed}"
        elif isinstance(event, End):
            self.phase = "finishing"

    def _step(self, cell: int, what: str) -> None:
        self._steps += 1
        self.phase = f"{what}: {self._name(cell)}"

    def _planned_steps(self) -> int:
        """Per cell: load, check, warm up, and at a pace; and the blocks."""
        assert self._round is not None
        per_cell = 3 + (Phase.PACED in self._round.phases)
        return per_cell * len(self._round.cells) + len(self._round.blocks)

    def _name(self, cell: int) -> str:
        if self.plan is None or cell >= len(self.plan.cells):
            return f"cell {cell}"
        return shortened(self.plan.cells[cell].label, LABEL)

    def _look(self, readings: tuple[Reading, ...]) -> None:
        degrees = [r.value for r in readings if r.kind == "temperature" and r.value is not None]
        states = [r.state for r in readings if r.kind == "thermal" and r.state is not None]
        if degrees:
            self.temperature_mdeg = max(degrees)
        if states:
            self.thermal = states[-1]

    def __rich__(self) -> RenderableType:
        lines = [self.phase, "  ".join(self._facts()), *self._figures()]
        texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines if line]
        return Group(self._bar(), *texts)

    def _bar(self) -> RenderableType:
        where = "" if self.plan is None else f"round {(self.number or 0) + 1}"
        of = "" if self.plan is None else f" of {len(self.plan.rounds)}"
        grid = rich.table.Table.grid(padding=(0, 1))
        grid.add_row(Text(where + of), ProgressBar(total=1.0, completed=self.share(), width=40))
        return grid

    def _facts(self) -> Iterator[str]:
        left = self.left_ns()
        if left is not None and left >= 1_000_000_000:
            yield f"about {seconds(left)} left"
        if self.temperature_mdeg is not None:
            yield f"{self.temperature_mdeg / 1000:.1f} °C"
        if self.thermal not in (None, "unknown"):
            yield f"thermal {self.thermal}"
        if self.rejected:
            yield f"{counted(self.rejected, 'block')} rejected"
        if self.lost:
            yield f"{counted(self.lost, 'round')} lost"
        if self.failed:
            yield f"failed: {self.failed}"

    def _figures(self) -> Iterator[str]:
        """So far, of a session that is timed; nothing is said of differences before its end."""
        shown = sorted(self._medians)[:MAX_SHOWN] if self._timed else []
        for cell in shown:
            middle = self.median_ns(cell)
            if middle is not None:
                blocks = counted(len(self._medians[cell]), "block")
                yield f"  {ms(middle)} ms  {self._name(cell)} ({blocks})"
        if self._timed and len(self._medians) > MAX_SHOWN:
            yield f"  and {len(self._medians) - MAX_SHOWN} more"


def _readings(event: Contract) -> tuple[Reading, ...]:
    if isinstance(event, Hello | Read):
        return event.readings
    if isinstance(event, Block | PacedRun):
        return (*event.before, *event.after)
    return event.after if isinstance(event, SustainedRun) else ()
