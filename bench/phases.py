"""What a cell did besides its bursts: loads, warm-ups, at a pace, for a minute, memory, CPU time.

Pure functions over a record; None or empty where it holds nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import cell_rounds, evidence
from .protocol.events import PacedRun, Reading, SustainedRun
from .protocol.plan import LoadKind, Unit
from .protocol.record import CellRound, RoundRecord, Session

LATE_SHARE_OF_INTERVAL = 0.1
"""An inference is late if it begins later than this share of the interval: 3.3 ms of a camera's
33 ms. Sleeping threads wake up within 1 ms or so everywhere; that is not late."""

MLPERF_SAMPLES = 1024
MLPERF_NS = 60_000_000_000
"""What MLPerf's single stream asks for: so many samples, and such a duration."""

LEAST_CPU_WALL_NS = 20_000_000
"""Of inferences; below it the steps of CPU clocks (10 to 16 ms on some systems) are too coarse."""


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of a few values, whose interval would promise too much."""

    count: int
    median: float
    low: int
    high: int


def spread(values: Iterable[int | None]) -> Spread | None:
    """Of the values that are there; None without any."""
    data = [value for value in values if value is not None]
    if not data:
        return None
    return Spread(len(data), float(np.median(np.asarray(data, np.float64))), min(data), max(data))


@dataclass(frozen=True)
class Loads:
    """Times of one kind of load in nanoseconds; `compiling` is the part the engine tells apart."""

    kind: LoadKind
    loading: Spread
    compiling: Spread | None


def loads(session: Session, cell: int) -> tuple[Loads, ...]:
    """By kind, as the harness proved it: first, cold, cached, unproven are never mixed."""
    events = [own.loaded for _, own in cell_rounds(session, cell) if own.loaded is not None]
    found = []
    for kind in LoadKind:
        own = [event for event in events if event.kind is kind]
        loading = spread(event.load_ns for event in own)
        if loading is not None:
            found.append(Loads(kind, loading, spread(event.compile_ns for event in own)))
    return tuple(found)


@dataclass(frozen=True)
class WarmUps:
    """`steady` of `rounds` ended because the latency held still; the others were given up."""

    rounds: int
    steady: int
    first_ns: Spread
    total_ns: Spread
    iterations: Spread


def warm_ups(session: Session, cell: int) -> WarmUps | None:
    events = [own.warm for _, own in cell_rounds(session, cell) if own.warm is not None]
    first = spread(event.first_ns for event in events)
    total = spread(event.total_ns for event in events)
    iterations = spread(event.iterations for event in events)
    if first is None or total is None or iterations is None:
        return None
    return WarmUps(len(events), sum(event.steady for event in events), first, total, iterations)


@dataclass(frozen=True)
class Pace:
    """At a pace. `late_share` of the inferences began late, None if the harness does not tell;
    `overrun_share` took longer than the interval."""

    rounds: int
    samples: int
    interval_ns: int
    median_ns: float
    p90_ns: float
    late_share: float | None
    overrun_share: float


def pace(session: Session, cell: int) -> Pace | None:
    runs = [own.paced for _, own in cell_rounds(session, cell) if own.paced is not None]
    if not runs:
        return None
    samples = _array(sample for run in runs for sample in run.samples_ns)
    over = sum(s > run.interval_ns for run in runs for s in run.samples_ns)
    middle, high = (float(v) for v in np.percentile(samples, (50, 90)))
    return Pace(
        rounds=len(runs),
        samples=len(samples),
        interval_ns=runs[0].interval_ns,
        median_ns=middle,
        p90_ns=high,
        late_share=_late_share(runs),
        overrun_share=over / len(samples),
    )


def _late_share(runs: Sequence[PacedRun]) -> float | None:
    told = [(late, run.interval_ns) for run in runs for late in run.late_ns]
    if not told:
        return None
    return sum(late > LATE_SHARE_OF_INTERVAL * interval for late, interval in told) / len(told)


@dataclass(frozen=True)
class Stretch:
    """The median of a stretch of a sustained run, and when its middle was since the start."""

    at_ns: int
    median_ns: float


@dataclass(frozen=True)
class Sustained:
    """A sustained run of one round: what it began with, ended with, and the way between."""

    round: int
    duration_ns: int
    samples: int
    first_ns: float
    """The median of the inferences that began in the first tenth of the time."""
    last_ns: float
    """And of those in the last tenth."""
    curve: tuple[Stretch, ...]

    @property
    def slowdown(self) -> float:
        """How many times the latency at the start that at the end is."""
        return max(self.last_ns, 1.0) / max(self.first_ns, 1.0)


def sustained(session: Session, cell: int) -> tuple[Sustained, ...]:
    """One for each round that has a sustained run."""
    return tuple(
        _sustained(found.number, own.sustained)
        for found, own in cell_rounds(session, cell)
        if own.sustained
    )


def _sustained(number: int, runs: Sequence[SustainedRun]) -> Sustained:
    begin, duration = min(run.start_ns for run in runs), _span_ns(runs)
    starts = np.concatenate([_starts(run) for run in runs]) - begin
    samples = _array(sample for run in runs for sample in run.samples_ns)
    first, last = starts <= duration * 0.1, starts >= duration * 0.9
    # One inference may take longer than a tenth of the time.
    first[np.argmin(starts)] = True
    last[np.argmax(starts)] = True
    return Sustained(
        round=number,
        duration_ns=duration,
        samples=len(samples),
        first_ns=float(np.median(samples[first])),
        last_ns=float(np.median(samples[last])),
        curve=tuple(
            Stretch(
                (run.start_ns + run.end_ns) // 2 - begin,
                float(np.median(_array(run.samples_ns))),
            )
            for run in runs
        ),
    )


def _starts(run: SustainedRun) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """When each inference of a stretch began, if they follow each other without gaps."""
    before = np.concatenate(([0.0], np.cumsum(_array(run.samples_ns))[:-1]))
    return run.start_ns + before


@dataclass(frozen=True)
class Memory:
    """Resident bytes of the process, which holds all cells of the round.

    `growth` is what loading the cell added, where the state before it is known; the first load
    of an engine brings the engine too.
    """

    after_load: Spread
    growth: Spread | None
    peak_bytes: int


def memory(session: Session, cell: int) -> Memory | None:
    after, growth, peaks = [], [], []
    for found, own in cell_rounds(session, cell):
        if own.loaded is None or own.loaded.memory_bytes is None:
            continue
        bytes_then = own.loaded.memory_bytes
        after.append(bytes_then)
        growth.append(_growth(session, found, cell, bytes_then))
        peaks.append(max([bytes_then, *_values(found.readings, "memory")]))
    loaded = spread(after)
    return None if loaded is None else Memory(loaded, spread(growth), max(peaks))


def _growth(session: Session, found: RoundRecord, cell: int, bytes_then: int) -> int | None:
    order = session.plan.rounds[found.number].cells
    place = order.index(cell) if cell in order else 0
    if place:
        earlier = found.cells.get(order[place - 1], CellRound()).loaded
        before = None if earlier is None else earlier.memory_bytes
    else:
        readings = () if found.hello is None else found.hello.readings
        before = next(iter(_values(readings, "memory")), None)
    return None if before is None else bytes_then - before


def _values(readings: Iterable[Reading], kind: str) -> list[int]:
    return [r.value for r in readings if r.kind == kind and r.value is not None]


@dataclass(frozen=True)
class CpuRound:
    """CPU time of the process against wall time of a cell's inferences, in one round.

    A `share` of 1 is a thread that ran all the time; more are several threads; less is waiting: for
    a core on a busy machine, or for an accelerator. `stretch` is how many times the CPU time of an
    inference the median inference took: a few that waited for long lower the share and leave the
    median alone.
    """

    round: int
    share: float
    stretch: float


@dataclass(frozen=True)
class CpuShare:
    """Round by round; `on_cpu` says whether nothing but a core is waited for."""

    rounds: tuple[CpuRound, ...]
    on_cpu: bool

    @property
    def lowest(self) -> float:
        return min(found.share for found in self.rounds)


def cpu_share(session: Session, cell: int) -> CpuShare | None:
    """Of a cell; None where the harness tells no CPU time, or too little of it."""
    found = []
    for each in evidence(session, cell):
        told = [piece for piece in each.pieces if piece.cpu_ns is not None]
        samples = [sample for piece in told for sample in piece.samples_ns]
        wall_ns, cpu_ns = sum(samples), sum(piece.cpu_ns or 0 for piece in told)
        if wall_ns >= LEAST_CPU_WALL_NS:
            middle = float(np.median(_array(samples)))
            stretch = middle * len(samples) / max(cpu_ns, 1)
            found.append(CpuRound(each.round.number, cpu_ns / wall_ns, stretch))
    return CpuShare(tuple(found), on_cpu(session, cell)) if found else None


def on_cpu(session: Session, cell: int) -> bool:
    """Whether all rounds say that a cell ran on the CPU, or say nothing where it was asked for."""
    units = {
        own.loaded.unit or session.plan.cells[cell].unit
        for _, own in cell_rounds(session, cell)
        if own.loaded is not None
    }
    return units == {Unit.CPU}


@dataclass(frozen=True)
class SingleStream:
    """As MLPerf's single stream reports: the 90th percentile by rank, of enough inferences.

    Where `complete` is false there were fewer than 1,024 samples or 60 s, and the figure is none
    to compare with MLPerf's.
    """

    p90_ns: int
    samples: int
    duration_ns: int

    @property
    def complete(self) -> bool:
        return self.samples >= MLPERF_SAMPLES and self.duration_ns >= MLPERF_NS


def single_stream(session: Session, cell: int) -> SingleStream | None:
    """Of a cell's sustained runs; where it has none, of its bursts."""
    runs = [own.sustained for _, own in cell_rounds(session, cell) if own.sustained]
    samples = [sample for stretches in runs for run in stretches for sample in run.samples_ns]
    duration_ns = sum(_span_ns(stretches) for stretches in runs)
    if not samples:
        samples = [s for found in evidence(session, cell) for s in found.samples_ns()]
        duration_ns = sum(samples)
    if not samples:
        return None
    rank = len(samples) * 9 // 10
    return SingleStream(sorted(samples)[rank], len(samples), duration_ns)


def _span_ns(runs: Sequence[SustainedRun]) -> int:
    """From the first inference to the end of the last: what a clock on the wall says. Looks at
    sensors lie between stretches, so inferences alone never fill the time that was asked for."""
    begin = min(run.start_ns for run in runs)
    return max(max(run.end_ns for run in runs) - begin, 0)


def _array(values: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.fromiter(values, np.float64)
