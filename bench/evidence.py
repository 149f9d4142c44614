"""What of a session is evidence for a cell: one place that decides it, for all figures.

Evidence are the accepted blocks of completed rounds in which the cell did not fail; of a cell that
the plan puts into no block, its sustained runs. A record that somebody wrote by hand may name
blocks and cells that its plan lacks; they are evidence of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .protocol.events import Block, CellBurst
from .protocol.plan import Phase
from .protocol.record import CellRound, RoundRecord, Session


@dataclass(frozen=True)
class Piece:
    """Inferences back to back: one burst, or a stretch of a sustained run.

    `place` is that of its block among all blocks of the round, so that bursts of one block have
    one place.
    """

    place: int
    samples_ns: tuple[int, ...]
    cpu_ns: int | None


@dataclass(frozen=True)
class RoundEvidence:
    """A cell in one round, in order of time."""

    round: RoundRecord
    replicate: int
    pieces: tuple[Piece, ...]

    def samples_ns(self) -> list[int]:
        """All inferences of the round, in order."""
        return [sample for piece in self.pieces for sample in piece.samples_ns]


def cell_rounds(session: Session, cell: int) -> Iterator[tuple[RoundRecord, CellRound]]:
    """The completed rounds in which a cell was loaded and did not fail."""
    for found in session.completed:
        own = found.cells.get(cell)
        if own is not None and own.loaded is not None and own.failed is None:
            yield found, own


def evidence(session: Session, cell: int, *, rejected: bool = False) -> tuple[RoundEvidence, ...]:
    """Of a cell, round by round; with `rejected`, what rejected blocks hold too."""
    blocks = in_blocks(session, cell)
    every = []
    for found, own in cell_rounds(session, cell):
        pieces = tuple(_bursts(found, cell, rejected) if blocks else _stretches(own))
        if pieces:
            replicate = session.plan.rounds[found.number].replicate
            every.append(RoundEvidence(found, replicate, pieces))
    return tuple(every)


def _bursts(found: RoundRecord, cell: int, rejected: bool) -> Iterator[Piece]:
    for place, block in enumerate(found.blocks):
        if rejected or block.rejected is None:
            burst = _burst(block, cell)
            if burst is not None:
                yield Piece(place, burst.samples_ns, burst.cpu_ns)


def _burst(block: Block, cell: int) -> CellBurst | None:
    return next((burst for burst in block.bursts if burst.cell == cell), None)


def _stretches(own: CellRound) -> Iterator[Piece]:
    for place, run in enumerate(own.sustained):
        yield Piece(place, run.samples_ns, run.cpu_ns)


def in_blocks(session: Session, cell: int) -> bool:
    """Whether the plan puts a cell into blocks."""
    return any(planned.blocks and cell in planned.cells for planned in session.plan.rounds)


def planned_rounds(session: Session, cell: int) -> tuple[int, ...]:
    """Numbers of the rounds that were to give evidence for a cell."""
    phase = Phase.BURST if in_blocks(session, cell) else Phase.SUSTAINED
    return tuple(
        planned.number
        for planned in session.plan.rounds
        if phase in planned.phases and cell in planned.cells
    )


def share_blocks(session: Session, cell: int, base: int) -> bool:
    """Whether the plan measures two cells in the same blocks."""
    return any(
        planned.blocks and cell in planned.cells and base in planned.cells
        for planned in session.plan.rounds
    )
