"""One session: launch the rounds of a plan on a device, judge, and keep what lands."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .checking import Judge
from .devices.station import Flight, Station
from .journal import Journal
from .protocol.base import Contract, date_of
from .protocol.events import EVENTS, Checked, Event, Failed, Reading
from .protocol.plan import Plan, Round, is_hotter
from .protocol.reading import ProtocolError, open_regular, parse, read_round
from .protocol.record import Closed, Landed, Launched, RoundStatus, Waited

On = Callable[[Contract], None]
"""Told every line of the record, and a harness's events as they come."""

_MOST_LOST = 3
"""Rounds in a row that may be lost before a session gives up."""
_SLICE_NS = 1_000_000_000
_PIECE = 2**20


def now() -> str:
    """The date as the protocol writes it."""
    return date_of(datetime.now(timezone.utc))


def new_session_id() -> str:
    """Sorted by time, and never twice."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


@dataclass
class Running:
    """A session on a device that is open."""

    plan: Plan
    station: Station
    journal: Journal
    judge: Judge
    on: On
    completed: int = 0
    waited_ns: int = 0

    def run(self, numbers: Sequence[int]) -> str:
        """Run rounds and keep each as it lands; returns why it ended early, or nothing.

        Raises:
            KeyboardInterrupt: what landed is kept.
            OutputError: if the disk refuses; what landed is kept.
        """
        lost = 0
        readings: tuple[Reading, ...] = ()
        for number in numbers:
            self._cool_down(number, readings or self.station.look())
            landed, readings = self._fly(self.plan.rounds[number])
            if landed.status is RoundStatus.COMPLETED:
                self.completed += 1
                lost = 0
            else:
                lost += 1
            if landed.status is RoundStatus.LOST:
                return f"the device was lost in round {number}: {landed.detail}"
            if lost == _MOST_LOST:
                return f"{lost} rounds in a row were lost: {landed.detail or landed.code}"
        return ""

    def close(self, reason: str) -> None:
        """Write the last line."""
        planned = len(self.plan.rounds)
        closed = Closed(at=now(), completed=self.completed, planned=planned, reason=reason[:2000])
        self.journal.append([closed])
        self.on(closed)

    def _fly(self, planned: Round) -> tuple[Landed, tuple[Reading, ...]]:
        launch = f"{self.plan.session}-{planned.number}-{secrets.token_hex(4)}"
        launched = Launched(round=planned.number, launch=launch, at=now())
        self.on(launched)
        flight = self.station.launch(planned, launch, _Tail(self.on))
        events, landed = _read(self.plan, planned, launch, flight)
        lines: list[Contract] = [launched]
        for event in events:
            lines += self._kept(planned.number, event)
        self.journal.append([*lines, landed])
        self.on(landed)
        return landed, tuple(r for event in events for r in getattr(event, "after", ()))

    def _kept(self, number: int, event: Event) -> list[Contract]:
        if not isinstance(event, Checked):
            return [event]
        kept, judged = self.judge(number, event)
        return [kept] if judged is None else [kept, judged]

    def _cool_down(self, number: int, readings: Sequence[Reading]) -> None:
        gate = self.plan.gate
        hot = [
            r.state for r in readings if r.kind == "thermal" and is_hotter(r.state, gate.thermal)
        ]
        left_ns = min(gate.cooldown_ns, gate.max_cooldown_ns - self.waited_ns)
        if not hot or left_ns <= 0:
            return
        waited = Waited(round=number, waited_ns=left_ns, reason=f"thermal state {hot[-1]}")
        self.on(waited)
        self.waited_ns += left_ns
        while left_ns > 0:
            self.station.rest(min(left_ns, _SLICE_NS))
            left_ns -= _SLICE_NS
        self.journal.append([waited])


def _read(
    plan: Plan, planned: Round, launch: str, flight: Flight
) -> tuple[Sequence[Event], Landed]:
    """The events of a launch, and how it ended: what the file shows counts."""
    status, code, detail = flight.status, flight.code, flight.detail
    events: Sequence[Event] = ()
    if flight.file is not None:
        try:
            found = read_round(flight.file, plan, planned, launch)
        except ProtocolError as error:  # nothing of it can be trusted
            status, code, detail = RoundStatus.INVALID, error.code, str(error)
        except OSError as error:
            status, code, detail = RoundStatus.INVALID, "unreadable", str(error.strerror)
        else:
            events = found.events
            failed = next((e for e in events if isinstance(e, Failed) and e.cell is None), None)
            if failed is not None:
                status, code, detail = RoundStatus.FAILED, failed.code, failed.detail
            elif found.ended:
                status = RoundStatus.COMPLETED
            elif status is RoundStatus.COMPLETED:
                status, code, detail = RoundStatus.INVALID, "no-end", "its file was cut off"
    return events, Landed(
        round=planned.number,
        launch=launch,
        at=now(),
        status=status,
        code=code,
        detail=detail[:2000],
        exit_code=flight.exit_code,
    )


class _Tail:
    """Shows a file's new lines as they come. They are not trusted, and nothing depends on them."""

    def __init__(self, on: On) -> None:
        self._on = on
        self._read = 0
        self._rest = b""

    def __call__(self, file: Path) -> None:
        with suppress(OSError), open_regular(file) as stream:
            stream.seek(self._read)
            piece = stream.read(_PIECE)
            self._read += len(piece)
            *lines, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) > _PIECE:
                self._rest = b""
            for line in lines:
                with suppress(ProtocolError):
                    event = parse(line, EVENTS)
                    if event is not None:
                        self._on(event)
