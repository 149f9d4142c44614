"""Whether there is enough evidence, and whether it is of one steady state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from ..evidence import RoundEvidence, cell_rounds, evidence, in_blocks, planned_rounds
from ..phases import pace, single_stream
from ..protocol.record import RoundStatus, Session
from ..stats import find_step
from .findings import Finding, FindingCode, Severity

MIN_ROUNDS = 3
"""The 97.5 % quantile of t is 12.7 with two rounds, 4.3 with three."""
MIN_SAMPLES = 30
REJECTED_SHARE = 0.2
LATE_SHARE = 0.05
PIECES = 8
"""Parts of a round among which a step is looked for; of `PIECE_SAMPLES` inferences at least."""
PIECE_SAMPLES = 5


def judge_rounds(session: Session) -> Iterator[Finding]:
    """Launches that did not become evidence, and a session that did not come to its end."""
    launches = (*session.earlier, *session.rounds)
    lost = [r for r in launches if r.status not in (RoundStatus.COMPLETED, RoundStatus.STOPPED)]
    if lost:
        counts = Counter(found.status.value for found in lost)
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        reasons = Counter(found.code for found in lost if found.code).most_common(3)
        codes = f" ({', '.join(code for code, _ in reasons)})" if reasons else ""
        again = len(session.missing())
        yield Finding(
            FindingCode.ROUNDS_LOST,
            Severity.WARNING,
            f"launches that are no evidence: {told}{codes}; "
            + (f"{again} rounds are missing" if again else "all were made up for"),
            rounds=tuple(sorted({found.number for found in lost})),
        )
    planned = len(session.plan.rounds)
    stopped = any(found.status is RoundStatus.STOPPED for found in session.rounds)
    if session.closed is None or stopped or len(session.rounds) < planned:
        reason = session.closed.reason if session.closed else ""
        detail = (
            f"the session was stopped: {len(session.completed)} of {planned} rounds are there"
            + (f" ({reason})" if reason else "")
        )
        yield Finding(FindingCode.INTERRUPTED, Severity.WARNING, detail)


def judge_blocks(session: Session) -> Iterator[Finding]:
    """Blocks that the gate rejected, and slots that nothing was accepted in."""
    blocks = [(r.number, block) for r in session.completed for block in r.blocks]
    rejected = [(n, b.rejected.code) for n, b in blocks if b.rejected is not None]
    for code, reason in (
        (FindingCode.CONTROL_DRIFT, "control-drift"),
        (FindingCode.BLOCKS_REJECTED, None),
    ):
        own = [(n, c) for n, c in rejected if (c == "control-drift") == (reason is not None)]
        if not own:
            continue
        often = len(own) > REJECTED_SHARE * len(blocks)
        why = ", ".join(sorted({c for _, c in own}))
        yield Finding(
            code,
            Severity.WARNING if often else Severity.INFO,
            f"{len(own)} of {len(blocks)} blocks were rejected: {why}",
            rounds=tuple(sorted({n for n, _ in own})),
        )
    yield from _slots(session)


def _slots(session: Session) -> Iterator[Finding]:
    planned = lost = 0
    numbers = []
    for found in session.completed:
        slots = len(session.plan.rounds[found.number].blocks)
        # Where no cell lived long enough there was nothing to accept; that is said elsewhere.
        if not found.blocks:
            continue
        kept = len({block.block for block in found.accepted() if block.block < slots})
        planned, lost = planned + slots, lost + slots - kept
        numbers += [found.number] * (kept < slots)
    if lost:
        yield Finding(
            FindingCode.SLOTS_LOST,
            Severity.WARNING,
            f"{lost} of {planned} planned blocks have no accepted attempt",
            rounds=tuple(numbers),
        )


def judge_enough(session: Session, cell: int) -> Iterator[Finding]:
    """Rounds and samples of a cell that was to be timed."""
    if not planned_rounds(session, cell):
        return
    rounds = evidence(session, cell)
    if len(rounds) < MIN_ROUNDS:
        detail = {0: "no round is evidence", 1: "there is one round: no interval"}.get(
            len(rounds), f"there are only {len(rounds)} rounds: the interval is very wide"
        )
        severity = Severity.WARNING if rounds else Severity.INVALID
        yield Finding(FindingCode.TOO_FEW_ROUNDS, severity, detail, cell)
    samples = sum(len(found.samples_ns()) for found in rounds)
    if rounds and samples < MIN_SAMPLES:
        detail = f"there are only {samples} inferences"
        yield Finding(FindingCode.TOO_FEW_SAMPLES, Severity.WARNING, detail, cell)
    if session.plan.preset == "mlperf":
        yield from _mlperf(session, cell)


def _mlperf(session: Session, cell: int) -> Iterator[Finding]:
    found = single_stream(session, cell)
    if found is not None and not found.complete:
        detail = (
            f"{found.samples} inferences of {found.duration_ns / 1e9:.0f} s are less than MLPerf's "
            "1,024 of 60 s"
        )
        yield Finding(FindingCode.TOO_FEW_SAMPLES, Severity.WARNING, detail, cell)


def judge_steadiness(session: Session, cell: int) -> Iterator[Finding]:
    """Warm-ups that were given up, and steps in what is kept."""
    capped = tuple(
        found.number
        for found, own in cell_rounds(session, cell)
        if own.warm is not None and not own.warm.steady
    )
    if capped:
        detail = f"in {_rounds(capped)} the warm-up was given up before the latency held still"
        yield Finding(FindingCode.WARM_UP_CAPPED, Severity.WARNING, detail, cell, capped)
    # A sustained run is long enough to show by itself how the latency changes.
    rounds = evidence(session, cell) if in_blocks(session, cell) else ()
    stepped = tuple(found.round.number for found in rounds if has_step(found))
    if stepped:
        detail = f"in {_rounds(stepped)} the latency changed for good in the middle"
        yield Finding(FindingCode.STEP, Severity.WARNING, detail, cell, stepped)
    unsteady = {*capped, *stepped}
    if rounds and 2 * len(unsteady) > len(rounds):
        detail = f"in {len(unsteady)} of {len(rounds)} rounds the latency did not hold still"
        code = FindingCode.NO_STEADY_STATE
        yield Finding(code, Severity.WARNING, detail, cell, tuple(sorted(unsteady)))


def has_step(found: RoundEvidence) -> bool:
    """Whether one time in a round tells all slower parts of it from all faster ones.

    Parts are bursts, or pieces of them where there are few; a difference of two ticks of the clock
    is none.
    """
    parts = -(-PIECES // len(found.pieces))
    medians = [
        float(np.median(chunk))
        for piece in found.pieces
        for chunk in np.array_split(
            np.asarray(piece.samples_ns, np.float64),
            max(min(parts, len(piece.samples_ns) // PIECE_SAMPLES), 1),
        )
    ]
    place = find_step(medians)
    if place is None:
        return False
    tick_ns = 0 if found.round.hello is None else found.round.hello.clock.resolution_ns
    return abs(median(medians[place:]) - median(medians[:place])) > 2 * tick_ns


def judge_pace(session: Session, cell: int) -> Iterator[Finding]:
    found = pace(session, cell)
    if found is None:
        return
    if found.late_share is not None and found.late_share > LATE_SHARE:
        detail = f"{found.late_share:.0%} of its paced inferences began late"
        yield Finding(FindingCode.PACED_LATE, Severity.WARNING, detail, cell)
    if found.overrun_share > LATE_SHARE:
        detail = f"{found.overrun_share:.0%} of its paced inferences took longer than the interval"
        yield Finding(FindingCode.PACE_NOT_KEPT, Severity.WARNING, detail, cell)


def _rounds(numbers: Sequence[int]) -> str:
    return "1 round" if len(numbers) == 1 else f"{len(numbers)} rounds"
