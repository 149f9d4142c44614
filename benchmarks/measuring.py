"""Latency of bundles on this machine: one thread on one cpu, interleaved, as `care-bench` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from care_mobile.bench.evidence import evidence
from care_mobile.bench.harness.pinning import usable_cores
from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.record import Launched, Session
from care_mobile.bench.request import SessionOutcome, SessionRequest, run_session
from care_mobile.bench.stats import latency as latency_of
from care_mobile.errors import RuntimeFailure

from .results import Latency

SEED = 0
TARGETS = ("executorch", "onnx")
"""Those whose runtimes run on any machine."""

OnStep = Callable[[str, float], None]
"""Called with what comes next and the share of the work that is done."""


class Taken(NamedTuple):
    """One cell of a session."""

    session: Session
    cell: int

    @property
    def name(self) -> str:
        return self.session.plan.cells[self.cell].bundle.name


class Amount(NamedTuple):
    """How much is measured: launches, in each of them blocks, in each of them inferences. A smoke
    test is not `gated`: it shall end with figures, however busy the machine is."""

    launches: int
    blocks: int
    iterations: int
    gated: bool = True


def the_cpu() -> int:
    """The one that everything is pinned to."""
    return max(usable_cores())


def measure_bundles(
    bundles: Sequence[Path], output: Path, amount: Amount, on_step: OnStep
) -> SessionOutcome:
    """Measure bundles in one session; its record stays in `output`/records."""

    def on(event: Contract) -> None:
        if isinstance(event, Launched):
            done = event.round / amount.launches
            on_step(f"round {event.round + 1} of {amount.launches}", done)

    return run_session(
        SessionRequest(
            bundles=tuple(bundles),
            output=output,
            records=output / "records",
            rounds=amount.launches,
            blocks=amount.blocks,
            iterations=amount.iterations,
            gated=amount.gated,
            affinity=(the_cpu(),),
            seed=SEED,
            wait_seconds=3600.0,
        ),
        on,
        lambda holder: on_step(f"waiting for {holder}", 0.0),
    )


def taken(outcome: SessionOutcome) -> dict[int, Taken]:
    """The cells of a session that were measured, by position among its bundles."""
    session = outcome.session
    return {
        cell: Taken(session, cell)
        for cell in range(len(session.plan.cells))
        if evidence(session, cell)
    }


def why_lost(session: Session, cell: int) -> str:
    """Why a cell has no samples."""
    for found in (*session.rounds, *session.earlier):
        own = found.cells.get(cell)
        if own is not None and own.failed is not None:
            return own.failed.detail or own.failed.code
    last = session.rounds[-1:]
    return (last[0].detail or last[0].status.value) if last else "no round landed"


def samples_ns(found: Taken) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """All samples, by round and accepted block."""
    return tuple(tuple(piece.samples_ns for piece in each.pieces) for each in evidence(*found))


def latency(found: Taken) -> Latency:
    """Of all samples of a bundle.

    Raises:
        RuntimeFailure: if there are none.
    """
    known = latency_of(*found)
    if known is None:
        raise RuntimeFailure(f"{found.name}: {why_lost(*found)}", "measure again")
    samples = known.samples
    return Latency(
        median_ms=known.median_ns / 1e6, p10_ms=samples.p10_ns / 1e6, p90_ms=samples.p90_ns / 1e6
    )
