"""What comes of comparing two runs operation by operation, without what runs them."""

from __future__ import annotations

from .frozen import Frozen
from .half_precision import LIMIT_DB, OperationDivergence


class Divergence(Frozen):
    """All operations with floating-point results, in the order of the program."""

    reference: str
    other: str
    operations: tuple[OperationDivergence, ...]
    limit_db: float = LIMIT_DB

    @property
    def first(self) -> OperationDivergence | None:
        """The first operation below the limit."""
        return next((op for op in self.operations if op.psnr_db < self.limit_db), None)

    def worst(self, count: int = 5) -> tuple[OperationDivergence, ...]:
        """Those that do the most damage: alone where that is known, accumulated otherwise."""
        return tuple(sorted(self.operations, key=lambda entry: entry.damage_db)[:count])
