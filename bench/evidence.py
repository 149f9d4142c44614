"""What of a session is evidence for a cell: one place that decides it, for all figures.

Evidence are the accepted blocks of completed rounds in which the cell did not fail. A record that
somebody wrote by hand may name blocks and cells that its plan lacks; they are evidence of nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .protocol.events import Block, CellBurst
from .protocol.record import CellRound, RoundRecord, Session


@dataclass(frozen=True)
class RoundBursts:
    """A cell's bursts in one round, by the blocks that hold them, in order."""

    round: RoundRecord
    replicate: int
    blocks: tuple[tuple[Block, CellBurst], ...]

    def samples_ns(self) -> list[int]:
        """All inferences of the round, in order."""
        return [sample for _, burst in self.blocks for sample in burst.samples_ns]


def cell_rounds(session: Session, cell: int) -> Iterator[tuple[RoundRecord, CellRound]]:
    """The completed rounds in which a cell was loaded and did not fail."""
    for found in session.completed:
        own = found.cells.get(cell)
        if own is not None and own.loaded is not None and own.failed is None:
            yield found, own


def bursts(session: Session, cell: int, *, rejected: bool = False) -> tuple[RoundBursts, ...]:
    """The rounds that hold bursts of a cell; with `rejected`, those of rejected blocks too."""
    every = []
    for found, _ in cell_rounds(session, cell):
        blocks = found.blocks if rejected else found.accepted()
        own = tuple((block, b) for block in blocks for b in block.bursts if b.cell == cell)
        if own:
            replicate = session.plan.rounds[found.number].replicate
            every.append(RoundBursts(found, replicate, own))
    return tuple(every)


def planned_rounds(session: Session, cell: int) -> tuple[int, ...]:
    """Numbers of the rounds whose blocks were to hold a cell."""
    return tuple(r.number for r in session.plan.rounds if r.blocks and cell in r.cells)


def share_rounds(session: Session, cell: int, base: int) -> bool:
    """Whether the plan measures two cells in blocks of the same rounds."""
    return any(r.blocks and cell in r.cells and base in r.cells for r in session.plan.rounds)
