"""How many multiply-accumulates a piece of a network takes, and what of it is not known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of one run.

    Attributes:
        macs: of what is known, with the cheaper of two branches and one round of every loop whose
            rounds are not known.
        most: the same with the dearer of two branches.
        uncounted: operations that could not be counted.
        loops: whose number of rounds is not known.
    """

    macs: int = 0
    most: int = 0
    uncounted: int = 0
    loops: int = 0

    @classmethod
    def of(cls, macs: int | None) -> Work:
        """That of one operation; None if it could not be counted."""
        return cls(uncounted=1) if macs is None else cls(macs, macs)

    @property
    def at_least(self) -> bool:
        """Whether a run may take more than `macs`."""
        return self.most > self.macs or self.uncounted > 0 or self.loops > 0

    @property
    def known(self) -> int | None:
        """`macs`; None if nothing of what should count could be counted."""
        return self.macs if self.macs or not self.uncounted else None

    def __add__(self, other: Work) -> Work:
        return Work(
            self.macs + other.macs,
            self.most + other.most,
            self.uncounted + other.uncounted,
            self.loops + other.loops,
        )

    def times(self, rounds: int | None) -> Work:
        """This in a loop; None for a number of rounds that is not known."""
        if rounds is None:
            return replace(self, loops=self.loops + 1) if self.most or self.uncounted else self
        return replace(self, macs=rounds * self.macs, most=rounds * self.most)

    def notes(self) -> list[str]:
        """What `macs` leaves out, as phrases."""
        found = []
        if self.loops:
            found.append(f"one round of {_plural(self.loops, 'loop')} of unknown length")
        if self.most > self.macs:
            found.append(f"the cheaper branches; {self.most:,} with the dearer ones")
        if self.uncounted:
            found.append(f"{_plural(self.uncounted, 'operation')} could not be counted")
        return found


def total(parts: Iterable[Work]) -> Work:
    """All of them, one after the other."""
    return sum(parts, Work())


def either(branches: Iterable[Work]) -> Work:
    """One of them runs, and which is not known."""
    found = list(branches)
    if not found:
        return Work()
    return Work(
        min(work.macs for work in found),
        max(work.most for work in found),
        max(work.uncounted for work in found),
        max(work.loops for work in found),
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
