"""A script as the measuring loop sees it: a clock, sensors and cells, without any real time."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from ..protocol.arithmetic import control
from ..protocol.base import MAX_BLOCKS, MAX_NS
from ..protocol.events import (
    MAX_READINGS,
    Answer,
    Block,
    Engine,
    Event,
    Failed,
    Reading,
    Warm,
)
from ..protocol.plan import Cell, LoadKind, Probe, Round
from .script import (
    MIN_LATENCY_NS,
    Busy,
    CellFails,
    ControlDrift,
    Happening,
    Placement,
    Script,
    Sensor,
    Throttle,
    WrongAnswers,
)
from .tools import CellFailure, LoadedCell, LoadFacts

ENGINES = ("script", "noop")
"""What plans for scripts ask for; of `noop` the right answers are known."""
H = TypeVar("H", bound=Happening)
Known = Callable[[Cell, Probe], Sequence[Answer]]
"""The right answers of a cell on a probe."""

_MAX_SLOWDOWN = 1e9
_MIN_SLOWDOWN = 1e-3
_PATIENT_READS = 8
"""More than the loop reads between an inference and the next."""
_TICK_NS = 10_000
_SCRIPT = Engine(name="script", version="none")


class Clock:
    """Moves when something takes time. What waits uses no CPU time.

    It also moves while it is only read, as one does that waits for a moment without sleeping.
    """

    def __init__(self) -> None:
        self.at_ns = 0
        self.used_ns = 0
        self._reads = 0

    def now_ns(self) -> int:
        self._reads += 1
        if self._reads > _PATIENT_READS:
            self.at_ns = min(self.at_ns + _TICK_NS, MAX_NS)
        return self.at_ns

    def cpu_ns(self) -> int:
        return self.used_ns

    def sleep_ns(self, time_ns: int) -> None:
        self.spend(time_ns, 0)

    def spend(self, time_ns: int, cpu_ns: int) -> None:
        """Let time pass, as far as numbers of the protocol go.

        Raises:
            CellFailure: if they go no further.
        """
        if self.at_ns + time_ns >= MAX_NS:
            raise CellFailure("clock-ran-over", "the latencies of the script are too long")
        self._reads = 0
        self.at_ns += time_ns
        self.used_ns += cpu_ns


class Stage:
    """Where a round is: told by what its harness says."""

    def __init__(self, planned: Round, retries: int, begins: Callable[[int], None]) -> None:
        self.number = planned.number
        self.block: int | None = None
        """The last one that began."""
        self.attempt = 0
        self.inferred = False
        """Whether an inference ran since it did."""
        self._blocks = len(planned.blocks)
        self._cold = set(planned.cells)
        self._retries = retries
        self._begins = begins

    def follow(self, kind: type[Event], fields: dict[str, Any]) -> None:
        """An event was written."""
        if kind in (Warm, Failed) and self.block is None:
            self._cold.discard(fields.get("cell", -1))
            if not self._cold:
                self._begin(0)
        elif kind is Block:
            self.inferred = False
            self.attempt = fields["attempt"] + 1
            if fields["rejected"] is None or fields["attempt"] >= self._retries:
                self._begin(fields["block"] + 1)

    def _begin(self, block: int) -> None:
        if block < self._blocks:
            self.block, self.attempt, self.inferred = block, 0, False
            self._begins(block)


class Player:
    """The parts of `Tools` that a script plays."""

    def __init__(
        self, script: Script, clock: Clock, stage: Stage, loads: Callable[[], None], known: Known
    ) -> None:
        self._script = script
        self._clock = clock
        self._stage = stage
        self._loads = loads
        self._known = known
        # Only what can happen in this round: an inference asks each time.
        self._world = [h for h in script.world if h.lasts(stage.number, MAX_BLOCKS)]
        self._looked = 0
        self._states: dict[int, int] = {}

    def load(self, index: int, cell: Cell, kind: LoadKind) -> LoadedCell:
        self._loads()
        if cell.engine not in ENGINES:
            raise CellFailure("no-engine", f"a script plays no {cell.engine}")
        for probe in cell.probes[:1]:
            self._known(cell, probe)  # what the loop would run on is there
        names = _names(cell)
        self._fail(names)
        self._clock.spend(self._script.load_ns, self._script.load_ns)
        placement = next(iter(self._lasting(Placement, names)), None)
        facts = LoadFacts(
            kind=_shown(cell, kind),
            load_ns=self._script.load_ns,
            engine=_SCRIPT,
            unit=(placement and placement.unit) or cell.unit,
            threads=cell.threads,
            cores=cell.cores,
            placement=placement.placement if placement else None,
            memory_bytes=cell.bundle.size_bytes,
        )
        return LoadedCell(
            facts, self._inferences(index, names), lambda probe: self._answers(cell, probe)
        )

    def control(self, iterations: int) -> int:
        """Its real result, in the script's time."""
        if iterations not in self._states:
            self._states[iterations] = control(iterations)
        took = self._script.control_ns_per_1024 * iterations / 1024
        stage = self._stage
        if stage.inferred:
            for drift in self._lasting(ControlDrift):
                if stage.attempt < drift.attempts and drift.block in (None, stage.block):
                    took = took * drift.factor_permille / 1000
        self._clock.spend(round(took), round(took))
        return self._states[iterations]

    def look(self, at_ns: int) -> tuple[Reading, ...]:
        found = {
            ("thermal", ""): Reading(at_ns=at_ns, kind="thermal", state="nominal"),
            ("foreground", ""): Reading(at_ns=at_ns, kind="foreground", state="yes"),
            ("low-power", ""): Reading(at_ns=at_ns, kind="low-power", state="no"),
        }
        degrees = self._script.temperatures_millidegrees
        if degrees:
            value = degrees[self._looked % len(degrees)]
            found["temperature", ""] = Reading(at_ns=at_ns, kind="temperature", value=value)
            self._looked += 1
        for hot in self._lasting(Throttle):
            state = hot.thermal.value
            found["thermal", ""] = Reading(at_ns=at_ns, kind="thermal", state=state)
        for told in self._lasting(Sensor):
            found[told.sensor, told.name] = Reading(
                at_ns=at_ns, kind=told.sensor, name=told.name, value=told.value, state=told.state
            )
        return tuple(found.values())[:MAX_READINGS]

    def _inferences(self, index: int, names: tuple[str, ...]) -> Callable[[], object]:
        script, clock, stage = self._script, self._clock, self._stage
        latencies = script.latencies(names)
        # A seed of text is the same on every machine.
        drawn = random.Random(f"{script.seed} {stage.number} {index}")  # noqa: S311
        offset = math.exp(drawn.gauss(0, script.offset_permille / 1000))
        offset *= _factor(1000 + script.drift_permille_per_round * stage.number)
        count = 0

        def infer() -> None:
            nonlocal count
            self._fail(names)
            work = latencies[count % len(latencies)] * offset
            count += 1
            if script.noise_permille:
                work *= math.exp(drawn.gauss(0, script.noise_permille / 1000))
            if script.drift_permille_per_second:
                drifted = script.drift_permille_per_second * clock.at_ns / 1e9
                work *= _factor(1000 + drifted)
            if script.outliers and count % script.outliers.every == 0:
                work *= script.outliers.factor_permille / 1000
            work *= self._slowdown(Throttle)
            stage.inferred = True
            waited = work * self._slowdown(Busy)
            clock.spend(max(MIN_LATENCY_NS, round(waited)), round(work))

        return infer

    def _answers(self, cell: Cell, probe: Probe) -> list[Answer]:
        names = _names(cell)
        self._fail(names)
        self._clock.spend(*[self._script.latencies(names)[0]] * 2)
        answers = list(self._known(cell, probe))
        if any(True for _ in self._lasting(WrongAnswers, names)):
            return [_wrong(answer) for answer in answers]
        return answers

    def _lasting(self, kind: type[H], names: tuple[str, ...] = ()) -> Iterator[H]:
        """What happens now, of a kind; if `names` are given, to a cell with one of them."""
        at = self._stage.number, self._stage.block
        for happening in self._world:
            named = not names or getattr(happening, "cell", "*") in (*names, "*")
            if isinstance(happening, kind) and named and happening.lasts(*at):
                yield happening

    def _slowdown(self, kind: type[Throttle] | type[Busy]) -> float:
        factor = 1.0
        for happening in self._lasting(kind):
            factor = min(factor * happening.factor_permille / 1000, _MAX_SLOWDOWN)
        return max(factor, _MIN_SLOWDOWN)

    def _fail(self, names: tuple[str, ...]) -> None:
        for _ in self._lasting(CellFails, names):
            raise CellFailure("scripted", "fails, as its script says")


def _shown(cell: Cell, kind: LoadKind) -> LoadKind:
    """Scripts play any load; noop has none that could be shown."""
    proven = cell.engine != "noop" or kind is LoadKind.CACHED
    return kind if proven else LoadKind.UNPROVEN


def _names(cell: Cell) -> tuple[str, ...]:
    return (cell.id, cell.label, cell.bundle.name)


def _factor(permille: float) -> float:
    return max(permille / 1000, _MIN_SLOWDOWN)


def _wrong(answer: Answer) -> Answer:
    """Another answer of the same form: every number has another sign or size."""
    values = bytearray(base64.b64decode(answer.data or ""))
    count = -(-math.prod(answer.shape) // answer.stride)
    size = max(1, len(values) // max(1, count))
    for last in range(size - 1, len(values), size):
        values[last] ^= 0x01 if size == 1 else 0x81
    return answer.model_copy(update={"data": base64.b64encode(values).decode()})
