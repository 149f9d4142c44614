"""A session as it lies on disk, and as it is folded: JSON Lines from its first second on.

The journal that `--resume` continues and the record that is compared are one file. Its first line
is `session`, with the plan; then, for every launch, `launched`, the harness's own lines with the
round's number, `judged` for each check of answers, and `landed`; the last line is `closed`. A file
without it is of a session that was cut off: what landed counts. Samples are evidence and are never
changed; answers are replaced by their hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from pydantic import Field

from .base import MAX_ROUNDS, CellIndex, Code, Contract, Count, Date, Detail, Id, Name, Nanoseconds
from .events import (
    EVENTS,
    Block,
    Checked,
    Control,
    End,
    Event,
    Failed,
    Hello,
    Loaded,
    Note,
    PacedRun,
    Read,
    Reading,
    SustainedRun,
    Warm,
)
from .plan import Plan

RECORD_VERSION = 2


class RecordKind(str, Enum):
    """`FUNCTIONAL` and `SCRIPTED` records never say how fast something is; `IMPORTED` ones hold
    what another tool found, with what they lack."""

    LATENCY = "latency"
    FUNCTIONAL = "functional"
    SCRIPTED = "scripted"
    IMPORTED = "imported"


class RoundStatus(str, Enum):
    """How a launch ended. Only `COMPLETED` rounds are evidence."""

    COMPLETED = "completed"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    INVALID = "invalid"
    LOST = "lost"
    STOPPED = "stopped"


class DeviceReference(Contract):
    """Which device: what names it, not what it is made of. `host` is set for one elsewhere."""

    kind: Code
    serial: Name = ""
    host: Name = ""


class SessionOpened(Contract):
    """The first line."""

    event: Literal["session"] = "session"
    record: Literal[2] = 2
    session: Id
    started: Date
    kind: RecordKind
    device: DeviceReference
    tools: dict[Name, Name] = Field(default_factory=dict)
    lacks: tuple[Code, ...] = Field((), description="of an imported record: what is not known")
    origin: Name = Field("", description="of an imported or upgraded record: what it was")
    plan: Plan


class Launched(Contract):
    event: Literal["launched"] = "launched"
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    launch: Id
    at: Date


class Judged(Contract):
    """The host's judgement of a cell's answers on a probe; `partial` for a sample of them."""

    event: Literal["judged"] = "judged"
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    cell: CellIndex
    probe: Name
    moment: Literal["before", "after"] = "before"
    passed: bool
    psnr_db: float | None = None
    max_abs: float | None = None
    equal_share: float | None = None
    partial: bool = False
    note: Detail = ""


class Summary(Contract):
    """What another tool says of a cell: its own figures of samples that it did not keep, or beside
    them. `what` is `latency`, `load`, `first`, `warm-up`, ...; null is what it does not tell."""

    event: Literal["summary"] = "summary"
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    cell: CellIndex
    what: Code = "latency"
    count: Count | None = None
    figure_ns: Nanoseconds | None = Field(None, description="one, and not said which")
    mean_ns: Nanoseconds | None = None
    trimmed_mean_ns: Nanoseconds | None = None
    deviation_ns: Nanoseconds | None = None
    min_ns: Nanoseconds | None = None
    max_ns: Nanoseconds | None = None
    median_ns: Nanoseconds | None = None
    p5_ns: Nanoseconds | None = None
    p90_ns: Nanoseconds | None = None
    p95_ns: Nanoseconds | None = None
    p99_ns: Nanoseconds | None = None
    p999_ns: Nanoseconds | None = None


class Landed(Contract):
    event: Literal["landed"] = "landed"
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    launch: Id
    at: Date
    status: RoundStatus
    code: Code | None = None
    detail: Detail = ""
    exit_code: int | None = None


class Waited(Contract):
    """The host let the device cool down before a round."""

    event: Literal["waited"] = "waited"
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    waited_ns: Nanoseconds
    reason: Detail


class Resumed(Contract):
    event: Literal["resumed"] = "resumed"
    at: Date
    tools: dict[Name, Name] = Field(default_factory=dict)


class Closed(Contract):
    """The last line."""

    event: Literal["closed"] = "closed"
    at: Date
    completed: Count = Field(description="rounds that are evidence")
    planned: Count
    reason: Detail = ""


HOST_EVENTS: dict[str, type[Contract]] = {
    kind.model_fields["event"].default: kind
    for kind in (SessionOpened, Launched, Judged, Summary, Landed, Waited, Resumed, Closed)
}


@dataclass(frozen=True)
class CellRound:
    """One cell in one round."""

    loaded: Loaded | None = None
    warm: Warm | None = None
    checked: tuple[Checked, ...] = ()
    judged: tuple[Judged, ...] = ()
    summaries: tuple[Summary, ...] = ()
    failed: Failed | None = None
    paced: PacedRun | None = None
    sustained: tuple[SustainedRun, ...] = ()


@dataclass(frozen=True)
class RoundRecord:
    """One launch. `cells` holds those the plan's round has, by position in the plan."""

    number: int
    launch: str
    at: str
    status: RoundStatus
    code: str | None = None
    detail: str = ""
    hello: Hello | None = None
    control: Control | None = None
    cells: Mapping[int, CellRound] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    readings: tuple[Reading, ...] = ()
    notes: tuple[Note, ...] = ()
    failed: Failed | None = None

    @property
    def evidence(self) -> bool:
        return self.status is RoundStatus.COMPLETED

    def accepted(self) -> tuple[Block, ...]:
        """The blocks that were not rejected, one per slot, in order."""
        return tuple(block for block in self.blocks if block.rejected is None)


@dataclass(frozen=True)
class Session:
    """A record, folded. `rounds` holds the last launch of each round, in the plan's order;
    `earlier` launches of the same rounds that did not become evidence."""

    opened: SessionOpened
    rounds: tuple[RoundRecord, ...] = ()
    earlier: tuple[RoundRecord, ...] = ()
    waited: tuple[Waited, ...] = ()
    resumed: tuple[Resumed, ...] = ()
    closed: Closed | None = None

    @property
    def plan(self) -> Plan:
        return self.opened.plan

    @property
    def completed(self) -> tuple[RoundRecord, ...]:
        """The rounds that are evidence."""
        return tuple(r for r in self.rounds if r.evidence)

    def missing(self) -> tuple[int, ...]:
        """Numbers of the plan's rounds that are not evidence yet."""
        have = {r.number for r in self.completed}
        return tuple(r.number for r in self.plan.rounds if r.number not in have)


class _Launch:
    """A launch that is being folded."""

    def __init__(self, launched: Launched) -> None:
        self.launched = launched
        self.events: list[Event] = []
        self.judged: list[Judged] = []
        self.summaries: list[Summary] = []

    def round(self, landed: Landed, plan: Plan) -> RoundRecord:
        planned = plan.rounds[landed.round].cells
        return RoundRecord(
            number=landed.round,
            launch=landed.launch,
            at=self.launched.at,
            status=landed.status,
            code=landed.code,
            detail=landed.detail,
            hello=self._first(Hello),
            control=self._first(Control),
            cells={cell: self._cell(cell) for cell in planned},
            blocks=tuple(e for e in self.events if isinstance(e, Block)),
            readings=tuple(r for e in self.events for r in _readings(e)),
            notes=tuple(e for e in self.events if isinstance(e, Note)),
            failed=next((e for e in self._all(Failed) if e.cell is None), None),
        )

    def _cell(self, cell: int) -> CellRound:
        own = [e for e in self.events if getattr(e, "cell", None) == cell]

        def all_of(kind: type[Any]) -> tuple[Any, ...]:
            return tuple(e for e in own if isinstance(e, kind))

        def first(kind: type[Any]) -> Any:
            return next(iter(all_of(kind)), None)

        return CellRound(
            loaded=first(Loaded),
            warm=first(Warm),
            checked=all_of(Checked),
            judged=tuple(j for j in self.judged if j.cell == cell),
            summaries=tuple(s for s in self.summaries if s.cell == cell),
            failed=first(Failed),
            paced=first(PacedRun),
            sustained=all_of(SustainedRun),
        )

    def _all(self, kind: type[Any]) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]

    def _first(self, kind: type[Any]) -> Any:
        return next(iter(self._all(kind)), None)


def _readings(event: Event) -> tuple[Reading, ...]:
    if isinstance(event, Hello | Read):
        return event.readings
    if isinstance(event, Block | PacedRun):
        return (*event.before, *event.after)
    if isinstance(event, SustainedRun):
        return event.after
    return ()


def fold(opened: SessionOpened, lines: Iterable[Contract]) -> Session:
    """A session from its lines after the first. A launch that did not land is left out."""
    launch: _Launch | None = None
    rounds: dict[int, RoundRecord] = {}
    earlier: list[RoundRecord] = []
    waited: list[Waited] = []
    resumed: list[Resumed] = []
    closed: Closed | None = None
    for line in lines:
        if isinstance(line, Launched):
            launch = _Launch(line)
        elif isinstance(line, Landed) and launch is not None:
            found, launch = launch.round(line, opened.plan), None
            before = rounds.get(found.number)
            if before is not None:
                earlier.append(before)
            rounds[found.number] = found
        elif isinstance(line, Judged) and launch is not None:
            launch.judged.append(line)
        elif isinstance(line, Summary) and launch is not None:
            launch.summaries.append(line)
        elif isinstance(line, Event) and launch is not None and not isinstance(line, End):
            launch.events.append(line)
        elif isinstance(line, Waited):
            waited.append(line)
        elif isinstance(line, Resumed):
            resumed.append(line)
            closed = None
        elif isinstance(line, Closed):
            closed = line
    return Session(
        opened=opened,
        rounds=tuple(rounds[number] for number in sorted(rounds)),
        earlier=tuple(earlier),
        waited=tuple(waited),
        resumed=tuple(resumed),
        closed=closed,
    )


LINES: dict[str, type[Contract]] = {**EVENTS, **HOST_EVENTS}
"""Every line of a record, by the word in `event`."""
