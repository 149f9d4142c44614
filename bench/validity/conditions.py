"""The device and its state: what it is, and what its sensors said."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from ..evidence import cell_rounds, evidence, in_blocks
from ..protocol.events import Block, Reading, Reality
from ..protocol.foreign import WORDS
from ..protocol.plan import Thermal, is_hotter
from ..protocol.record import RecordKind, RoundRecord, Session
from .findings import Finding, FindingCode, Severity

TICK_SHARE = 0.01
"""Of the latency. Rounds of one load agree to about 2 %; half of that would be lost in ticks."""
SPEED_SHARE = 0.05
"""As much as the gate allows the control kernel within a block, by default."""

_STATES = frozenset(thermal.value for thermal in Thermal)

_UNREAL = {
    Reality.SIMULATOR: FindingCode.SIMULATOR,
    Reality.EMULATOR: FindingCode.EMULATOR,
    Reality.INTERPRETER: FindingCode.INTERPRETER,
    Reality.SCRIPT: FindingCode.SCRIPT,
}


_LACKS = {lack.value: words for lack, words in WORDS.items()}


def judge_kind(session: Session) -> Iterator[Finding]:
    """What a record can say at all."""
    kind, lacks = session.opened.kind, session.opened.lacks
    if kind is RecordKind.FUNCTIONAL:
        detail = "this device tells whether answers are right, not how fast they come"
        yield Finding(FindingCode.FUNCTIONAL, Severity.INFO, detail)
    if kind is RecordKind.SCRIPTED:
        detail = "times were played from a script; nothing was measured"
        yield Finding(FindingCode.SCRIPT, Severity.INFO, detail)
    if lacks:
        detail = "; ".join(_LACKS.get(lack, lack) for lack in lacks)
        yield Finding(FindingCode.IMPORTED_LACKS, Severity.WARNING, detail)
    if kind in (RecordKind.LATENCY, RecordKind.IMPORTED):
        yield from _reality(session)


def _reality(session: Session) -> Iterator[Finding]:
    found = {r.hello.machine.reality for r in session.completed if r.hello is not None}
    for reality in sorted(found & _UNREAL.keys()):
        detail = f"the machine is no device but of kind {reality.value}: its times are not one's"
        yield Finding(_UNREAL[reality], Severity.INVALID, detail)
    if Reality.UNKNOWN in found and not session.opened.lacks:
        detail = "the harness does not say whether the machine is a real one"
        yield Finding(FindingCode.REALITY_UNKNOWN, Severity.WARNING, detail)


def judge_identity(session: Session) -> Iterator[Finding]:
    """One machine, one system and one harness for all rounds."""
    told = [(r.number, r.hello) for r in session.completed if r.hello is not None]
    if told:
        first = told[0][1]
        for what, read in _IDENTITY:
            others = tuple(number for number, hello in told if read(hello) != read(first))
            if others:
                detail = f"{what} changed between rounds"
                code = FindingCode.MACHINE_CHANGED
                yield Finding(code, Severity.INVALID, detail, rounds=others)
    for resumed in session.resumed:
        before, after = session.opened.tools, resumed.tools
        names = [n for n in sorted(before.keys() | after.keys()) if before.get(n) != after.get(n)]
        # A resumed line of a harness that does not tell its tools says nothing about them.
        if after and names:
            detail = f"the session was resumed with another version of {', '.join(names[:5])}"
            yield Finding(FindingCode.TOOLS_CHANGED, Severity.WARNING, detail)
            return


def _machine(hello: object) -> Hashable:
    return getattr(hello, "machine", None)


def _harness(hello: object) -> Hashable:
    return getattr(hello, "harness", None)


_IDENTITY = (("the machine or its system", _machine), ("the harness", _harness))


def judge_state(session: Session) -> Iterator[Finding]:
    """What the device said of itself while it measured."""
    yield from _heat(session)
    for kind, state, code, detail in (
        ("low-power", "yes", FindingCode.LOW_POWER, "the device was saving power"),
        (
            "foreground",
            "no",
            FindingCode.NOT_IN_FOREGROUND,
            "the harness was not in the foreground",
        ),
        ("debugger", "yes", FindingCode.DEBUGGER, "a debugger was attached"),
    ):
        numbers = _rounds_with(session, kind, state)
        if numbers:
            yield Finding(code, Severity.INVALID, detail, rounds=numbers)
    plugged = {
        reading.state != "discharging"
        for found in session.completed
        for reading in found.readings
        if reading.kind == "battery" and reading.state is not None
    }
    if len(plugged) > 1:
        detail = "the device was plugged in or unplugged during the session"
        yield Finding(FindingCode.CHARGING_CHANGED, Severity.WARNING, detail)


def _rounds_with(session: Session, kind: str, state: str) -> tuple[int, ...]:
    return tuple(
        found.number
        for found in session.completed
        if any(r.kind == kind and r.state == state for r in found.readings)
    )


def _heat(session: Session) -> Iterator[Finding]:
    limit = session.plan.gate.thermal
    hot = [r for r in session.completed if _counted_hot(r, limit)]
    if hot:
        yield Finding(
            FindingCode.THROTTLED,
            Severity.INVALID,
            f"blocks count that were measured above the thermal state {limit.value}",
            rounds=tuple(r.number for r in hot),
        )
    warm = [r for r in session.completed if r not in hot and _hot_elsewhere(r, limit)]
    if warm:
        yield Finding(
            FindingCode.THROTTLED,
            Severity.WARNING,
            f"the device went above the thermal state {limit.value}",
            rounds=tuple(r.number for r in warm),
        )
    yield from _heat_of_figures(session, limit)
    if session.opened.lacks or not session.completed:
        return
    unknown = tuple(r.number for r in session.completed if not _tells_heat(r))
    if unknown:
        virtual = all(
            r.hello is not None and r.hello.machine.reality is Reality.VIRTUAL
            for r in session.completed
        )
        yield Finding(
            FindingCode.THERMAL_UNKNOWN,
            Severity.INFO if virtual else Severity.WARNING,
            "the device does not tell its thermal state, which is not to say that it is nominal",
            rounds=() if len(unknown) == len(session.completed) else unknown,
        )


def _heat_of_figures(session: Session, limit: Thermal) -> Iterator[Finding]:
    """Where the figure is that of sustained runs, their heat is in it; that it is meant to be there
    makes it no less a reason why the cell that ran second is slower."""
    for cell in range(len(session.plan.cells)):
        numbers = tuple(
            found.number
            for found, own in cell_rounds(session, cell)
            if _any_hot(tuple(r for run in own.sustained for r in run.after), limit)
        )
        if numbers and not in_blocks(session, cell):
            detail = f"its sustained runs went above the thermal state {limit.value}"
            yield Finding(FindingCode.THROTTLED, Severity.WARNING, detail, cell, numbers)


def _counted_hot(found: RoundRecord, limit: Thermal) -> bool:
    return any(_any_hot(_around(block), limit) for block in found.accepted())


def _hot_elsewhere(found: RoundRecord, limit: Thermal) -> bool:
    """Sustained runs are there to see what heat does; their readings are no reason."""
    sustained = {
        id(reading)
        for own in found.cells.values()
        for run in own.sustained
        for reading in run.after
    }
    return _any_hot((r for r in found.readings if id(r) not in sustained), limit)


def _around(block: Block) -> tuple[Reading, ...]:
    return (*block.before, *block.after)


def _any_hot(readings: Iterator[Reading] | tuple[Reading, ...], limit: Thermal) -> bool:
    return any(r.kind == "thermal" and is_hotter(r.state, limit) for r in readings)


def _tells_heat(found: RoundRecord) -> bool:
    """Whether every look at the thermal state saw one, and there was a look."""
    states = [reading.state for reading in found.readings if reading.kind == "thermal"]
    return bool(states) and all(state in _STATES for state in states)


def judge_speed(session: Session) -> Iterator[Finding]:
    """The control kernel over all rounds: one step of it takes the same time on one machine."""
    steps = {r.number: step for r in session.completed if (step := _control_step(r)) is not None}
    if not steps:
        return
    fastest = min(steps.values())
    slow = tuple(number for number, step in steps.items() if step > fastest * (1 + SPEED_SHARE))
    if slow:
        share = max(steps.values()) / max(fastest, 1e-9) - 1
        yield Finding(
            FindingCode.SPEED_CHANGED,
            Severity.WARNING,
            f"the control kernel was up to {share:.0%} slower in some rounds than in the fastest",
            rounds=slow,
        )


def _control_step(found: RoundRecord) -> float | None:
    if found.control is None:
        return None
    times = [found.control.control_ns]
    for block in found.accepted():
        times += [t for t in (block.control_before_ns, block.control_after_ns) if t is not None]
    return float(np.median(np.asarray(times, np.float64))) / found.control.iterations


def judge_clock(session: Session, cell: int) -> Iterator[Finding]:
    """Whether a latency is many ticks long. `noop` measures the clock itself."""
    if session.plan.cells[cell].engine == "noop":
        return
    for each in evidence(session, cell):
        if each.round.hello is None:
            continue
        tick_ns = each.round.hello.clock.resolution_ns
        middle = float(np.median(np.asarray(each.samples_ns(), np.float64)))
        if tick_ns > TICK_SHARE * middle:
            detail = f"a tick of the clock is {tick_ns} ns, an inference takes {middle:.0f} ns"
            yield Finding(FindingCode.TIMER_COARSE, Severity.WARNING, detail, cell)
            return
