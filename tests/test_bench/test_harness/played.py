"""A round on a clock that only inferences, sleep and the control kernel move."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from care_mobile.bench.harness.loop import run_round
from care_mobile.bench.harness.room import Room
from care_mobile.bench.harness.tools import LoadedCell, LoadFacts, Tools
from care_mobile.bench.harness.writer import RoundWriter
from care_mobile.bench.protocol.events import (
    Answer,
    Clock,
    Engine,
    HarnessInfo,
    Hello,
    Machine,
    Reading,
)
from care_mobile.bench.protocol.plan import Cell, LoadKind, Plan, Probe
from care_mobile.bench.protocol.reading import RoundFile, read_round

TICK_NS = 10
"""What looking at the clock takes."""
ORIGIN_NS = 10**15


class Stage:
    """Everything a round is measured with, played.

    Args:
        latency: nanoseconds of a cell's i-th inference, or what it raises.
        thermal: states by look.
        control_ns: of one iteration, by run of the kernel.
    """

    def __init__(
        self,
        latency: Callable[[int, int], int] = lambda cell, i: 1000 * (cell + 1),
        thermal: Iterable[str] = (),
        control_ns: Callable[[int], int] = lambda run: 1,
    ) -> None:
        self.now = ORIGIN_NS
        self.calls: list[int] = []
        self.sleeps: list[int] = []
        self.entered: list[int] = []
        self._latency = latency
        self._thermal = iter(thermal)
        self._control_ns = control_ns
        self._kernels = 0
        self._done: dict[int, int] = {}
        self.load_failures: dict[int, BaseException] = {}
        self.answer_failures: dict[int, BaseException] = {}
        self.outputs = 1
        self.note = ""

    def clock(self) -> int:
        self.now += TICK_NS
        return self.now

    def sleep(self, ns: int) -> None:
        assert ns > 0
        self.sleeps.append(ns)
        self.now += ns

    def control(self, iterations: int) -> int:
        self.now += iterations * self._control_ns(self._kernels)
        self._kernels += 1
        return 5

    def look(self, at_ns: int) -> tuple[Reading, ...]:
        return (Reading(at_ns=at_ns, kind="thermal", state=next(self._thermal, "nominal")),)

    def infer(self, cell: int) -> None:
        i = self._done[cell] = self._done.get(cell, -1) + 1
        self.calls.append(cell)
        self.now += self._latency(cell, i)

    def load(self, index: int, cell: Cell, kind: LoadKind) -> LoadedCell:
        if index in self.load_failures:
            raise self.load_failures[index]

        def answers(probe: Probe) -> list[Answer]:
            if index in self.answer_failures:
                raise self.answer_failures[index]
            return [Answer(name="x", dtype="uint8", shape=(1,), data="AA==")] * self.outputs

        facts = LoadFacts(kind=kind, load_ns=7, engine=Engine(name="noop", version="1"))
        return LoadedCell(
            facts=facts,
            infer=lambda: self.infer(index),
            answers=answers,
            enter=lambda: self.entered.append(index),
            notes=(("told", self.note or f"of cell {index}"),),
        )

    def play(self, plan: Plan, file: Path, number: int = 0, room: Room | None = None) -> RoundFile:
        """The round as the host reads it."""
        planned = plan.rounds[number]
        writer = RoundWriter(file, lambda: self.clock() - ORIGIN_NS, room)
        writer.emit(
            Hello,
            session=plan.session,
            round=number,
            launch="l-1",
            started="2026-01-02T03:04:05Z",
            harness=HarnessInfo(name="played", version="1", language="Python"),
            clock=Clock(name="played", resolution_ns=1),
            machine=Machine(model="", os="", os_build="", architecture="", soc="", cores=1),
        )
        tools = Tools(
            origin_ns=ORIGIN_NS,
            now_ns=self.clock,
            sleep_ns=self.sleep,
            cpu_ns=lambda: self.now - ORIGIN_NS,
            control=self.control,
            look=self.look,
            load=self.load,
            emit=writer.emit,
        )
        run_round(plan, planned, tools)
        writer.end()
        return read_round(file, plan, planned, "l-1")
