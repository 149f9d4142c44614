"""Whether somebody else used the machine meanwhile.

Three signs, because no one of them is there on every system:

CPU time against wall time of the very inferences. On the CPU at least one thread runs at every
moment of an inference, whatever the number of threads; so CPU time is at least the wall time, and
what is missing was spent waiting for a core. If a few inferences waited, percentiles are wrong; if
half of them did, so is the median, which then exceeds the CPU time of an inference. With several
threads the ratio lies anywhere between 1 and their number, and a neighbour may take cores while it
stays above 1; so each round is held against the cell's best one too. Of accelerators it says
nothing: waiting for them is their use.

The one-minute load average, less the threads of the session itself, against the cores that these
leave. Not on Android, where idle kernel threads count.

Time that a hypervisor gave to other machines.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..phases import cpu_share
from ..protocol.record import RoundRecord, Session
from .findings import Finding, FindingCode, Severity

BUSY_SHARE = 0.9
"""Not 1: clocks of CPU time count in steps, and miss a little of what the system does."""
STRETCH = 2.0
"""Beyond it a median says more about the neighbours than about the network. It is not the share
that decides: on an overloaded machine a process of short inferences ran for 27 % of their time,
because one in ten waited for 9 ms, and its median was still that of the CPU time."""
BEST_SHARE = 0.8
"""Of the cell's best round: a core in five that is missing is no chance of one load."""
STEAL_SHARE = 0.02
"""Of the time of one core: as much as one load differs from the next."""
STEAL_LEAST_NS = 1_000_000_000
"""Of time between two looks: counters of stolen time go in steps of 10 ms."""


def judge_busy_cell(session: Session, cell: int) -> Iterator[Finding]:
    """The first sign."""
    found = cpu_share(session, cell)
    if found is None or not found.on_cpu:
        return
    waited = tuple(r.round for r in found.rounds if r.stretch > STRETCH)
    if 2 * len(waited) >= len(found.rounds):
        worst = max(each.stretch for each in found.rounds)
        detail = f"its median is up to {worst:.1f} times the CPU time of an inference"
        yield _busy(Severity.INVALID, detail, cell, waited)
        return
    slow = tuple(r.round for r in found.rounds if r.share < BUSY_SHARE)
    if slow:
        detail = f"it ran for only {found.lowest:.0%} of the time of its own inferences"
        yield _busy(Severity.WARNING, detail, cell, slow)
        return
    best = max(each.share for each in found.rounds)
    uneven = tuple(r.round for r in found.rounds if r.share < BEST_SHARE * best)
    if uneven:
        detail = f"its threads kept {found.lowest:.2f} cores in one round and {best:.2f} in another"
        yield _busy(Severity.WARNING, detail, cell, uneven)


def _busy(severity: Severity, detail: str, cell: int, rounds: tuple[int, ...]) -> Finding:
    why = f"{detail}: others used the machine"
    return Finding(FindingCode.MACHINE_BUSY, severity, why, cell, rounds)


def judge_busy(session: Session) -> Iterator[Finding]:
    """The other two, and whether there is any."""
    loaded = [(r.number, most) for r in session.completed if (most := _others(session, r))]
    if loaded:
        most = max(others for _, others in loaded)
        detail = f"other programs kept {most:.1f} cores busy on average"
        numbers = tuple(number for number, _ in loaded)
        yield Finding(FindingCode.MACHINE_BUSY, Severity.WARNING, detail, rounds=numbers)
    stolen = [(r.number, share) for r in session.completed if (share := _stolen(r)) is not None]
    robbed = [(number, share) for number, share in stolen if share > STEAL_SHARE]
    if robbed:
        most = max(share for _, share in robbed)
        detail = f"the hypervisor gave up to {most:.1%} of a core's time to other machines"
        numbers = tuple(number for number, _ in robbed)
        yield Finding(FindingCode.MACHINE_BUSY, Severity.WARNING, detail, rounds=numbers)
    if not session.opened.lacks and not _any_sign(session, bool(stolen)):
        detail = "neither CPU time nor load nor steal is told: nobody knows who else was at work"
        yield Finding(FindingCode.BUSY_UNKNOWN, Severity.WARNING, detail)


def _any_sign(session: Session, steal: bool) -> bool:
    load = any(r.kind == "load" for found in session.completed for r in found.readings)
    cpu_told = any(
        burst.cpu_ns is not None
        for found in session.completed
        for block in found.blocks
        for burst in block.bursts
    ) or any(
        run.cpu_ns is not None
        for found in session.completed
        for own in found.cells.values()
        for run in own.sustained
    )
    return steal or load or cpu_told or not session.completed


def _others(session: Session, found: RoundRecord) -> float:
    """Cores that others kept busy in a round; 0 if those are few enough to leave room."""
    machine = None if found.hello is None else found.hello.machine
    if machine is None or machine.cores is None or machine.os.lower().startswith("android"):
        return 0
    loads = [r.value for r in found.readings if r.kind == "load" and r.value is not None]
    planned = session.plan.rounds[found.number].cells
    own = max((session.plan.cells[cell].threads for cell in planned), default=1)
    others = max(loads, default=0) / 1000 - own
    room = max((machine.cores - own) / 2, 0.5)
    return others if others > room else 0


def _stolen(found: RoundRecord) -> float | None:
    looks = [(r.at_ns, r.value) for r in found.readings if r.kind == "steal"]
    told = sorted((at_ns, value) for at_ns, value in looks if value is not None)
    if len(told) < 2 or told[-1][0] - told[0][0] < STEAL_LEAST_NS:
        return None
    return max(told[-1][1] - told[0][1], 0) / (told[-1][0] - told[0][0])
