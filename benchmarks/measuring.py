"""Latency of bundles on this machine: one thread on one cpu, interleaved, as `care-bench` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from care_mobile.bench.devices.host import usable_cpus
from care_mobile.bench.record import RunRecord
from care_mobile.bench.runner import Progress
from care_mobile.bench.session import SessionRequest, SessionResult, run_session
from care_mobile.bench.stats import summarize

from .results import Latency

SEED = 0
TARGETS = ("executorch", "onnx")
"""Those whose runtimes run on any machine."""

OnStep = Callable[[str, float], None]
"""Called with what comes next and the share of the work that is done."""


def the_cpu() -> int:
    """The one that everything is pinned to."""
    return max(usable_cpus())


def measure(
    bundles: Sequence[Path],
    output: Path,
    blocks: int,
    iterations: int,
    on_step: OnStep,
) -> SessionResult:
    """Measure bundles in one session; its records stay in `output`/records."""

    def progress(event: Progress) -> None:
        phase = "warm-up" if event.block is None else f"block {event.block + 1}"
        on_step(f"{phase} {event.bundle}", event.done / event.total)

    return run_session(
        SessionRequest(
            bundles=tuple(bundles),
            output=output,
            records=output / "records",
            device="desktop",
            blocks=blocks,
            iterations=iterations,
            threads=1,
            affinity=(the_cpu(),),
            seed=SEED,
        ),
        progress,
    )


def latency(record: RunRecord) -> Latency:
    """Of all samples of a bundle."""
    found = summarize(record.samples_ns)
    return Latency(
        median_ms=found.median_ns / 1e6, p10_ms=found.p10_ns / 1e6, p90_ms=found.p90_ns / 1e6
    )
