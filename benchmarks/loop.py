"""What the reference harness's loop costs on a cell that does nothing, in time and in memory.

`python -m benchmarks.loop` runs rounds of noop cells as the harness does and reads what they wrote.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from care_mobile.bench.harness.launch import measure
from care_mobile.bench.protocol.base import date_of
from care_mobile.bench.protocol.events import Block, SustainedRun
from care_mobile.bench.protocol.plan import (
    BundleFacts,
    Burst,
    Cell,
    Gate,
    Phase,
    Plan,
    Round,
    Sustained,
    Warmup,
)
from care_mobile.bench.protocol.reading import RoundFile, read_round

BLOCKS = 20
SUSTAINED = Sustained(duration_ns=2_000_000_000, min_count=300_000)
"""Three stretches at least."""
FACTS = BundleFacts(
    name="nothing",
    model="nothing",
    target="noop",
    precision="none",
    resolution="none",
    weights_source="none",
    random_weights=False,
    size_bytes=0,
)


class Cost(NamedTuple):
    """Nanoseconds of CPU time per sample, of which `clocks` is what reading them takes by itself;
    `written` is time on the clock. Each is the shortest of several runs: whatever else the machine
    does only makes them longer."""

    phase: str
    samples: int
    whole: float
    clocks: float
    written: float | None


class Memory(NamedTuple):
    """Highest memory of Python's allocator in a round, beyond what was there before."""

    samples: int
    blocks: int
    peak_bytes: int


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.loop", description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000, help="of a cell in a block")
    samples = parser.parse_args().samples
    print(f"Python {sys.version.split()[0]}, a cell that does nothing; ns per sample\n")
    print("| phase | samples | whole loop | reading clocks | beyond them | then writing |")
    print("|---|---|---|---|---|---|")
    for c in costs(samples):
        written = "-" if c.written is None else f"{c.written:.0f}"
        print(
            f"| {c.phase} | {c.samples} | {c.whole:.0f} | {c.clocks:.0f} "
            f"| {c.whole - c.clocks:.0f} | {written} |"
        )
    print("\n| samples per block | blocks | peak, kB |\n|---|---|---|")
    found = list(memories(samples))
    for memory in found:
        print(f"| {memory.samples} | {memory.blocks} | {memory.peak_bytes / 1000:.0f} |")
    first, last = found[0], found[-1]
    slope = (last.peak_bytes - first.peak_bytes) / (last.samples - first.samples)
    print(f"\n{slope:.0f} bytes per sample of the largest block; nothing is kept of those before")
    return 0


def reading_ns(clock: Callable[[], int], count: int = 20_000, times: int = 9) -> float:
    """The CPU time that reading a clock takes, in a loop that does nothing else."""
    cpu_ns = time.process_time_ns
    found = []
    for _ in range(times):
        start = cpu_ns()
        for _ in range(count):
            clock()
        middle = cpu_ns()
        for _ in range(count):
            pass
        found.append(((middle - start) - (cpu_ns() - middle)) / count)
    return min(found)


def costs(samples: int) -> Iterator[Cost]:
    """Of each phase, with as many samples in a run.

    Clocks are read anew before each phase, as the machine may be busier than before.
    """
    for mode in ("bursts", "single"):
        clocks = 2 * reading_ns(time.perf_counter_ns)
        if mode == "single":
            clocks += reading_ns(time.process_time_ns)
        burst = Burst(mode=mode, min_iterations=samples, max_iterations=samples, pause_ns=0)
        found = _play(2, (Phase.BURST,), burst=burst)
        blocks = [e for e in found.events if isinstance(e, Block)]
        whole = min(_per_sample(block) for block in blocks)
        # From the end of a block to the next one's beginning it is checked, put into text and
        # written.
        gaps = [b.start_ns - a.at_ns for a, b in pairwise(blocks)]
        written = min(gaps) / (2 * samples)
        name = "burst" if mode == "bursts" else "burst, inference by inference"
        yield Cost(name, samples, whole, clocks, written)
    clocks = 2 * reading_ns(time.perf_counter_ns)
    found = _play(1, (Phase.SUSTAINED,), sustained=SUSTAINED)
    runs = [e for e in found.events if isinstance(e, SustainedRun)][:-1]
    whole = min((r.cpu_ns or 0) / len(r.samples_ns) for r in runs)
    written = min((b.start_ns - a.at_ns) / len(a.samples_ns) for a, b in pairwise(runs))
    yield Cost("sustained", len(runs[0].samples_ns), whole, clocks, written)


def _per_sample(block: Block) -> float:
    """CPU time of a block over all its samples."""
    spent = sum(burst.cpu_ns or 0 for burst in block.bursts)
    return spent / sum(len(burst.samples_ns) for burst in block.bursts)


def memories(samples: int) -> Iterator[Memory]:
    """Of rounds with more blocks, and with larger ones.

    Of two runs the one with less: the first may find one of Python's own tables full, which grows
    once and for all.
    """
    for size, blocks in ((samples, BLOCKS), (samples, 5 * BLOCKS), (5 * samples, BLOCKS)):
        yield Memory(size, blocks, min(_peak_bytes(size, blocks) for _ in range(2)))


def _peak_bytes(size: int, blocks: int) -> int:
    burst = Burst(min_iterations=size, max_iterations=size, pause_ns=0)
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(1, (Phase.BURST,), blocks, burst=burst)
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            _measure(plan, Path(folder))
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()


def _plan(cells: int, phases: tuple[Phase, ...], blocks: int, **changes: object) -> Plan:
    everyone = tuple(range(cells))
    rows = (everyone,) * blocks if Phase.BURST in phases else ()
    return Plan.model_validate(
        {
            "session": "loop",
            "created": date_of(datetime.now(timezone.utc)),
            "cells": tuple(
                Cell(id=f"c{i}", label="nothing", bundle=FACTS, engine="noop") for i in everyone
            ),
            "rounds": (Round(number=0, replicate=0, cells=everyone, blocks=rows, phases=phases),),
            "warmup": Warmup(min_iterations=1000, max_iterations=2000),
            "gate": Gate(control_drift_permille=None),
            **changes,
        }
    )


def _play(cells: int, phases: tuple[Phase, ...], **changes: object) -> RoundFile:
    plan = _plan(cells, phases, BLOCKS, **changes)
    with tempfile.TemporaryDirectory() as folder:
        file = _measure(plan, Path(folder))
        return read_round(file, plan, plan.rounds[0], "loop")


def _measure(plan: Plan, folder: Path) -> Path:
    (folder / "plan.json").write_text(plan.model_dump_json())
    file = folder / "round-0.jsonl"
    measure(folder / "plan.json", 0, "loop", file, time.perf_counter_ns())
    return file


if __name__ == "__main__":
    raise SystemExit(main())
