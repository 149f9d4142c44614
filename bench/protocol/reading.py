"""Lines that somebody else wrote, read with bounds: of a round's file, and of a record.

A file is huge, cut off in mid-line, of another session, out of order or full of garbage until it
has been shown not to be.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ConfigDict, ValidationError

from care_mobile.errors import CareError
from care_mobile.frozen import Frozen, first_problem

from .base import (
    MAJOR,
    MAX_COMMAS,
    MAX_LINE_BYTES,
    MAX_LINE_COLONS,
    MAX_LINES,
    MAX_LISTS,
    MAX_ROUND_BYTES,
    Contract,
)
from .events import (
    EVENTS,
    Block,
    Checked,
    End,
    Event,
    Failed,
    Hello,
    Loaded,
    PacedRun,
    SustainedRun,
    Warm,
)
from .plan import Phase, Plan, Round
from .record import LINES, RECORD_VERSION, Landed, Launched, Session, SessionOpened, fold

MAX_RECORD_BYTES = 2**31
_TAIL_BYTES = 4096
"""More than an `end` takes."""


class RecordError(CareError):
    """A record that is damaged, of another format, or does not belong to another one."""

    exit_code = 5


class ProtocolError(CareError):
    """A harness broke the protocol; `code` says how, for programs."""

    exit_code = 5

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class _Head(Frozen):
    model_config = ConfigDict(extra="ignore", strict=True)
    event: str


class _Version(_Head):
    """Of a first line, whatever else another version says there."""

    protocol: int = MAJOR
    record: int = RECORD_VERSION


def open_regular(file: Path) -> BinaryIO:
    """To read a file that somebody else made, who may put a pipe in its place at any moment: one
    is neither waited for nor read.

    Raises:
        OSError: if it cannot be read or is no regular file, which may never end.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    return os.fdopen(handle, "rb")


def lines_of(file: Path, most_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Lines without their ends, and whether each was ended; never more than a line in memory.

    Raises:
        ProtocolError: `too-large` for a file or line beyond its bound.
        OSError: if it cannot be read or is no regular file, which may never end.
    """
    total = 0
    with open_regular(file) as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            total += len(line)
            if len(line) > MAX_LINE_BYTES or total > most_bytes:
                raise ProtocolError("too-large", f"{file.name} is too large")
            yield line.rstrip(b"\r\n"), line.endswith(b"\n")


def parse(line: bytes, kinds: dict[str, type[Any]]) -> Any | None:
    """The event in a line; None for one of a kind that is not known.

    Raises:
        ProtocolError: `garbled` if it is none.
    """
    try:
        kind = kinds.get(_Head.model_validate_json(line).event)
        return None if kind is None else kind.model_validate_json(line)
    except ValidationError as error:
        raise ProtocolError("garbled", f"a line is no event: {first_problem(error)}") from error


def last_event(file: Path) -> str:
    """The word in `event` of the last line that was ended; empty if there is none."""
    try:
        with open_regular(file) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            tail = stream.read(_TAIL_BYTES)
    except OSError:
        return ""
    if not tail.endswith(b"\n"):
        return ""
    try:
        return _Head.model_validate_json(tail.rstrip(b"\r\n").rpartition(b"\n")[2]).event
    except ValidationError:
        return ""


def _check_version(line: bytes) -> None:
    """Refuse another major version, whose first line can hold anything but these numbers."""
    try:
        found = _Version.model_validate_json(line)
    except ValidationError:
        return  # no first line at all, which `parse` says better
    if found.event == "hello" and found.protocol != MAJOR:
        said = f"it speaks version {found.protocol} of the protocol, this program {MAJOR}"
        raise ProtocolError("other-version", said, "update the older of the two")
    if found.event == "session" and found.record != RECORD_VERSION:
        said = f"it is a record of version {found.record}, this program reads {RECORD_VERSION}"
        raise ProtocolError("other-version", said, "update care-mobile")


@dataclass(frozen=True)
class RoundFile:
    """The events of a round's file. `unknown` counts lines of kinds that this version lacks."""

    events: tuple[Event, ...]
    unknown: int
    ended: bool


class _Bulk:
    """What the lines of a launch hold; counted before they are parsed."""

    def __init__(self) -> None:
        self._lists = self._commas = 0

    def add(self, line: bytes) -> None:
        """Raises ProtocolError: `too-large` beyond what one launch may hold."""
        self._lists += line.count(b"[") + line.count(b"{")
        self._commas += line.count(b",")
        if line.count(b":") > MAX_LINE_COLONS:
            raise ProtocolError("too-large", f"more than {MAX_LINE_COLONS} keys in a line")
        if self._lists > MAX_LISTS:
            raise ProtocolError("too-large", f"more than {MAX_LISTS} lists and objects")
        if self._commas > MAX_COMMAS:
            raise ProtocolError("too-large", f"more than {MAX_COMMAS} values")


def read_round(file: Path, plan: Plan, planned: Round, launch: str) -> RoundFile:
    """What a harness wrote in one launch; what was cut off comes without its `end`.

    Raises:
        ProtocolError: if it is not of this launch or breaks the protocol.
        OSError: if it cannot be read.
    """
    order = _Order(plan, planned, launch)
    events: list[Event] = []
    bulk = _Bulk()
    unknown = 0
    for number, (line, whole) in enumerate(lines_of(file, MAX_ROUND_BYTES)):
        if not whole:
            break  # cut off in mid-line
        if number >= MAX_LINES:
            raise ProtocolError("too-large", f"{file.name} has more than {MAX_LINES} lines")
        bulk.add(line)
        if number == 0:
            _check_version(line)
        event = parse(line, EVENTS)
        if event is None and number:
            unknown += 1
        else:
            events.append(order.check(number, event))
    return RoundFile(tuple(events), unknown, order.ended)


class _Order:
    """Where events can stand. `check` gives an event back, or raises ProtocolError."""

    def __init__(self, plan: Plan, planned: Round, launch: str) -> None:
        self._planned = planned
        self._retries = plan.gate.retries
        self._probes = [{probe.name for probe in cell.probes} for cell in plan.cells]
        self._hello = (plan.session, planned.number, launch)
        self._at_ns = 0
        self._stage: dict[int, str] = {}
        """`loaded`, `warm` or `failed` by cell."""
        self._ran: set[tuple[int, type[Event]]] = set()
        self._checked: set[tuple[int, str, str]] = set()
        """Cell, probe and moment."""
        self._judged = [[p.name for p in cell.probes if p.judged] for cell in plan.cells]
        self._last: Block | None = None
        self._failed = False
        self.ended = False

    def check(self, number: int, event: Event | None) -> Event:
        where = f"line {number + 1}"
        if self.ended:
            raise ProtocolError("after-end", "lines follow the end")
        if event is None or isinstance(event, Hello) != (number == 0):
            raise ProtocolError("no-hello", "the first line, and no other, is hello")
        if event.n != number:
            raise ProtocolError("out-of-order", f"{where} says that it is line {event.n + 1}")
        if event.at_ns < self._at_ns:
            raise ProtocolError("time-went-back", f"{where} is earlier than the one before it")
        self._at_ns = event.at_ns
        if isinstance(event, Hello):
            if (event.session, event.round, event.launch) != self._hello:
                raise ProtocolError("stale", f"the file is of launch {event.launch}, not of this")
        elif isinstance(event, Block):
            self._check_block(event)
        elif isinstance(event, End):
            self.ended = True
            if event.events != number:
                raise ProtocolError("lines-missing", f"its end says {event.events} lines")
            self._check_whole()
        else:
            self._check_cell(event, where)
        return event

    def _check_whole(self) -> None:
        """A round that ended has done all that it was asked, or says what failed."""
        if self._failed:
            return
        phases = self._planned.phases
        for cell in self._planned.cells:
            stage = self._stage.get(cell, "")
            if stage == "failed":
                continue
            if stage not in (("warm",) if phases else ("loaded", "warm")):
                raise ProtocolError("cell-missing", f"cell {cell} neither ran nor failed")
            for phase, kind in ((Phase.PACED, PacedRun), (Phase.SUSTAINED, SustainedRun)):
                if phase in phases and (cell, kind) not in self._ran:
                    raise ProtocolError("phase-missing", f"cell {cell} has no {phase.value} run")
        done = -1 if self._last is None else self._last.block
        living = any(stage == "warm" for stage in self._stage.values())
        if living and done != len(self._planned.blocks) - 1:
            raise ProtocolError("blocks-missing", f"it ends after block {done}")
        self._check_answered()

    def _check_answered(self) -> None:
        for cell in self._planned.cells:
            if self._stage.get(cell) == "failed":
                continue
            judged = self._judged[cell]
            due = [(name, "before") for name in judged] + [(name, "after") for name in judged[:1]]
            for probe, moment in due:
                if (cell, probe, moment) not in self._checked:
                    said = f"cell {cell} has no answers on {probe}, {moment} it is measured"
                    raise ProtocolError("check-missing", said)

    def _check_cell(self, event: Event, where: str) -> None:
        cell: int | None = getattr(event, "cell", None)
        if cell is None:
            self._failed = self._failed or isinstance(event, Failed)
            return
        if cell not in self._planned.cells:
            raise ProtocolError("unknown-cell", f"{where} is about cell {cell}, not of the round")
        stage = self._stage.get(cell, "")
        needed = {Loaded: ("",), Warm: ("loaded",), Checked: ("loaded", "warm")}
        needed |= {PacedRun: ("warm",), SustainedRun: ("warm",)}
        if stage not in needed.get(type(event), (stage,)) or (stage == "failed"):
            raise ProtocolError("wrong-order", f"{where} comes out of turn for cell {cell}")
        if isinstance(event, Loaded) and event.load_ns is None:
            raise ProtocolError("garbled", f"{where} does not say how long the load took")
        if isinstance(event, Checked) and event.probe not in self._probes[cell]:
            raise ProtocolError("unknown-probe", f"{where} is about a probe that is not planned")
        if isinstance(event, Checked):
            key = (cell, event.probe, event.moment)
            if key in self._checked:
                raise ProtocolError("wrong-order", f"{where} checks what was checked")
            self._checked.add(key)
        if isinstance(event, PacedRun | SustainedRun):
            again = isinstance(event, PacedRun) and (cell, PacedRun) in self._ran
            if again or _PHASES[type(event)] not in self._planned.phases:
                raise ProtocolError("wrong-order", f"{where} measures what is not planned")
        self._stage[cell] = _STAGES.get(type(event), stage)
        self._ran.add((cell, type(event)))

    def _check_block(self, block: Block) -> None:
        if block.block >= len(self._planned.blocks):
            raise ProtocolError("unknown-block", f"block {block.block} is not in the plan")
        living = [c for c in self._planned.blocks[block.block] if self._stage.get(c) == "warm"]
        if [burst.cell for burst in block.bursts] != living:
            raise ProtocolError("wrong-order", f"block {block.block} does not keep the order")
        turns = {(0, 0)}
        if self._last is not None:
            turns = {(self._last.block + 1, 0)}
            if block.start_ns < self._last.end_ns:
                raise ProtocolError("time-went-back", f"block {block.block} starts in the last one")
            if self._last.rejected is not None and self._last.attempt < self._retries:
                turns.add((self._last.block, self._last.attempt + 1))
        if block.attempt > self._retries:
            raise ProtocolError("too-many-attempts", f"block {block.block} is tried too often")
        if (block.block, block.attempt) not in turns:
            raise ProtocolError("wrong-order", f"block {block.block} comes out of turn")
        self._last = block


_PHASES: dict[type[Event], Phase] = {PacedRun: Phase.PACED, SustainedRun: Phase.SUSTAINED}
_STAGES: dict[type[Event], str] = {Loaded: "loaded", Warm: "warm", Failed: "failed"}


def read_session(file: Path) -> Session:
    """The record in `file`.

    Raises:
        RecordError: if it is none, or is damaged before its last line.
    """
    try:
        return _read_session(file)
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}", "name a record") from error
    except ProtocolError as error:
        raise RecordError(f"{file}: {error}", error.hint or "measure again") from error


def _read_session(file: Path) -> Session:
    lines = lines_of(file, MAX_RECORD_BYTES)
    first = next(lines, None)
    if first:
        _check_version(first[0])
    opened = parse(first[0], LINES) if first and first[1] else None
    if not isinstance(opened, SessionOpened):
        raise RecordError(f"{file} is no record: its first line is no session", "name a record")
    found: list[Contract] = []
    launched: Launched | None = None
    bulk = _Bulk()
    for line, whole in lines:
        if not whole:
            break  # the power went
        bulk.add(line)
        event = parse(line, LINES)
        if event is None:
            continue
        _check_line(event, opened.plan)
        if isinstance(event, Launched):
            launched, bulk = event, _Bulk()
        elif isinstance(event, Landed) and launched is not None:
            if (event.round, event.launch) != (launched.round, launched.launch):
                raise ProtocolError("wrong-order", f"{event.launch} landed, but did not start")
            launched = None
        found.append(event)
    return fold(opened, found)


def _check_line(event: Contract, plan: Plan) -> None:
    number: int = getattr(event, "round", 0)
    if number >= len(plan.rounds):
        raise ProtocolError("unknown-round", f"round {number} is not in the plan")
    cells = [getattr(event, "cell", None)]
    if isinstance(event, Block):
        cells = [burst.cell for burst in event.bursts]
    for cell in cells:
        if cell is not None and cell >= len(plan.cells):
            raise ProtocolError("unknown-cell", f"cell {cell} is not in the plan")
