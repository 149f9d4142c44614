"""Records made by hand, folded as real ones are: as many rounds, blocks and cells as a test wants.

`session_of` takes latencies as ratios of `BASE_NS` and changes of any event through `edit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import (
    Block,
    CellBurst,
    Clock,
    Control,
    End,
    Engine,
    Event,
    HarnessInfo,
    Hello,
    Loaded,
    Machine,
    PacedRun,
    Reading,
    Reality,
    Rejected,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import (
    BundleFacts,
    Cell,
    Paced,
    Phase,
    Plan,
    Round,
    Sustained,
)
from care_mobile.bench.protocol.record import (
    Closed,
    DeviceReference,
    Judged,
    Landed,
    Launched,
    RecordKind,
    RoundStatus,
    Session,
    SessionOpened,
    fold,
)

BASE_NS = 10_000_000
CONTROL_NS = 2_000_000
DATE = "2026-01-02T03:04:05Z"
SESSION = "20260102T030405Z-00c0ffee"
NOOP = BundleFacts(
    name="noop",
    model="noop",
    target="none",
    precision="none",
    resolution="1x1",
    weights_source="none",
    random_weights=True,
    size_bytes=0,
)
"""Of a cell that needs no bundle."""

Edit = Callable[[Contract], Contract | Iterable[Contract] | None]
"""Of a line of the record: what stands there instead; several, or None for nothing."""


def cell_of(index: int, **changes: Any) -> Cell:
    """Cell `c0`, `c1`, ...: a bundle of the same content each, on one thread of the CPU."""
    facts = BundleFacts(
        name=f"tiny-{index}",
        content_sha256="ab" * 32,
        model="tiny",
        target="onnx",
        precision="fp32",
        resolution="8x8",
        weights_source="random:0",
        random_weights=True,
        size_bytes=1000,
    )
    given = {"id": f"c{index}", "label": f"tiny-{index}", "bundle": facts, "engine": "onnxruntime"}
    return Cell(**(given | changes))


def plan_of(
    cells: int | Sequence[Cell] = 2,
    *,
    rounds: int = 5,
    blocks: int = 2,
    apart: bool = False,
    phases: tuple[Phase, ...] = (Phase.BURST,),
    **changes: Any,
) -> Plan:
    """`rounds` replicates, each one round with all cells, or one round per cell if `apart`."""
    every = tuple(cell_of(n) for n in range(cells)) if isinstance(cells, int) else tuple(cells)
    together = [tuple(range(len(every)))]
    groups = [(n,) for n in range(len(every))] if apart else together
    bursts = Phase.BURST in phases
    planned = [(replicate, group) for replicate in range(rounds) for group in groups]
    given: dict[str, Any] = {
        "session": SESSION,
        "created": DATE,
        "cells": every,
        "rounds": tuple(
            Round(
                number=number,
                replicate=replicate,
                cells=group,
                blocks=(group,) * blocks if bursts else (),
                phases=phases,
            )
            for number, (replicate, group) in enumerate(planned)
        ),
        "paced": Paced() if Phase.PACED in phases else None,
        "sustained": Sustained() if Phase.SUSTAINED in phases else None,
    }
    return Plan(**(given | changes))


def machine_of(**changes: Any) -> Machine:
    given: dict[str, Any] = {
        "model": "a desktop",
        "reality": Reality.VIRTUAL,
        "os": "Debian GNU/Linux 12",
        "os_build": "Linux 6.1",
        "architecture": "x86_64",
        "soc": "a processor",
        "cores": 8,
    }
    return Machine(**(given | changes))


def reading(kind: str, state: str | None = None, *, at_ns: int = 0, **values: Any) -> Reading:
    return Reading(at_ns=at_ns, kind=kind, state=state, **values)


Latencies = Callable[[int, int, int], int | Sequence[int]]
"""Nanoseconds of round, block and cell: of each inference, or of all of them alike."""


@dataclass
class _Launch:
    """Writes the lines of one launch, on a clock of its own."""

    plan: Plan
    planned: Round
    latencies: Latencies
    iterations: int
    lines: list[Contract] = field(default_factory=list)
    clock_ns: int = 0
    n: int = 0

    def say(self, event: type[Event], /, **fields: Any) -> None:
        self.lines.append(event(n=self.n, at_ns=self.clock_ns, **fields))
        self.n += 1

    def write(self, hello: dict[str, Any]) -> list[Contract]:
        launch = f"launch-{self.planned.number}"
        number = self.planned.number
        self.lines.append(Launched(round=number, launch=launch, at=DATE))
        self.say(Hello, session=self.plan.session, round=number, launch=launch, **hello)
        self.say(Control, iterations=1024, checksum="0" * 16, control_ns=CONTROL_NS)
        for cell in self.planned.cells:
            self._load(cell)
        for cell in self.planned.cells:
            self._warm(cell)
        for block, row in enumerate(self.planned.blocks):
            self._block(block, row)
        for phase in self.planned.phases:
            for cell in self.planned.cells:
                self._long(phase, cell)
        self.say(End, events=self.n)
        status = RoundStatus.COMPLETED
        self.lines.append(Landed(round=number, launch=launch, at=DATE, status=status))
        return self.lines

    def _load(self, cell: int) -> None:
        planned = self.plan.cells[cell]
        self.clock_ns += 50_000_000
        self.say(
            Loaded,
            cell=cell,
            kind=self.planned.load,
            load_ns=50_000_000,
            engine=Engine(name=planned.engine, version="1.0", backend="cpu"),
            unit=planned.unit,
            threads=planned.threads,
            memory_bytes=100_000_000 + 10_000_000 * (cell + 1),
        )
        for name in [probe.name for probe in planned.probes] or ["probe"]:
            number = self.planned.number
            self.lines.append(Judged(round=number, cell=cell, probe=name, passed=True))

    def _warm(self, cell: int) -> None:
        took = self._samples(0, cell)[0]
        self.clock_ns += 20 * took
        self.say(
            Warm,
            cell=cell,
            iterations=20,
            first_ns=2 * took,
            latency_ns=took,
            total_ns=20 * took,
            steady=True,
        )

    def _samples(self, block: int, cell: int) -> tuple[int, ...]:
        found = self.latencies(self.planned.number, block, cell)
        return (found,) * self.iterations if isinstance(found, int) else tuple(found)

    def _block(self, block: int, row: tuple[int, ...]) -> None:
        start_ns = self.clock_ns
        bursts = []
        for cell in row:
            samples = self._samples(block, cell)
            begin, self.clock_ns = self.clock_ns, self.clock_ns + sum(samples)
            burst = {"start_ns": begin, "end_ns": self.clock_ns, "cpu_ns": sum(samples)}
            bursts.append(CellBurst(cell=cell, samples_ns=samples, **burst))
        self.say(
            Block,
            block=block,
            start_ns=start_ns,
            end_ns=self.clock_ns,
            bursts=tuple(bursts),
            control_before_ns=CONTROL_NS,
            control_after_ns=CONTROL_NS,
        )

    def _long(self, phase: Phase, cell: int) -> None:
        samples = self._samples(0, cell)
        span = {"start_ns": self.clock_ns, "samples_ns": samples, "cpu_ns": sum(samples)}
        if phase is Phase.PACED and self.plan.paced is not None:
            interval_ns = self.plan.paced.interval_ns
            self.clock_ns += interval_ns * len(samples)
            late = (0,) * len(samples)
            self.say(PacedRun, cell=cell, interval_ns=interval_ns, late_ns=late, **span)
        if phase is Phase.SUSTAINED:
            for _ in range(10):
                span["start_ns"] = self.clock_ns
                self.clock_ns += sum(samples)
                self.say(SustainedRun, cell=cell, end_ns=self.clock_ns, **span)


def session_of(
    plan: Plan | None = None,
    latencies: Latencies | None = None,
    *,
    iterations: int = 10,
    edit: Edit | None = None,
    kind: RecordKind = RecordKind.LATENCY,
    machine: Machine | None = None,
    resolution_ns: int = 1,
    readings: tuple[Reading, ...] = (),
    closed: bool = True,
    **opened: Any,
) -> Session:
    """A complete session without a fault; every inference takes `BASE_NS` unless told otherwise.

    `readings` are seen in every hello; `opened` changes the first line.
    """
    plan = plan or plan_of()
    hello = {
        "started": DATE,
        "harness": HarnessInfo(name="test", version="1", language="python"),
        "clock": Clock(name="monotonic", resolution_ns=resolution_ns),
        "machine": machine or machine_of(),
        "readings": readings,
    }
    lines: list[Contract] = []
    for planned in plan.rounds:
        launch = _Launch(plan, planned, latencies or (lambda r, b, c: BASE_NS), iterations)
        lines += launch.write(hello)
    if closed:
        lines.append(Closed(at=DATE, completed=len(plan.rounds), planned=len(plan.rounds)))
    first = {"session": plan.session, "started": DATE, "kind": kind, "plan": plan}
    first |= {"device": DeviceReference(kind="desktop"), "tools": {"python": "3.11.7"}}
    return fold(SessionOpened(**(first | opened)), _edited(lines, edit))


def _edited(lines: Iterable[Contract], edit: Edit | None) -> Iterator[Contract]:
    for line in lines:
        found = line if edit is None else edit(line)
        if isinstance(found, Contract):
            yield found
        elif found is not None:
            yield from found


def both(first: Edit, second: Edit) -> Edit:
    """An edit after another."""
    return lambda line: list(_edited(_edited([line], first), second))


def changing(kind: type[Contract], **changes: Any) -> Edit:
    """An edit of every line of a kind; a callable is called with the line."""

    def edit(line: Contract) -> Contract:
        if not isinstance(line, kind):
            return line
        given = {k: v(line) if callable(v) else v for k, v in changes.items()}
        return line.model_copy(update=given)

    return edit


def rejecting(when: Callable[[Block], bool], code: str = "control-drift") -> Edit:
    """An edit that rejects blocks; they were not tried again."""

    def edit(line: Contract) -> Contract:
        if isinstance(line, Block) and when(line):
            return line.model_copy(update={"rejected": Rejected(code=code)})
        return line

    return edit


def landing(number: int, status: RoundStatus, code: str | None = None) -> Edit:
    """An edit after which a round ended otherwise."""

    def edit(line: Contract) -> Contract:
        if isinstance(line, Landed) and line.round == number:
            return line.model_copy(update={"status": status, "code": code})
        return line

    return edit
