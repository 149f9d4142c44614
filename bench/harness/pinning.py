"""The cores that a cell runs on."""

from __future__ import annotations

import os

SUPPORTED = hasattr(os, "sched_setaffinity")


def usable_cores() -> tuple[int, ...]:
    """Logical cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


class Pinning:
    """Moves this thread between cores. Threads that it starts later inherit where it is."""

    def __init__(self) -> None:
        self.usable = usable_cores()
        self._now: tuple[int, ...] = self.usable

    def to(self, cores: tuple[int, ...] | None) -> None:
        """Run on `cores` from now on; None for all that there were in the beginning.

        Raises:
            OSError: if the system refuses.
        """
        wanted = self.usable if cores is None else cores
        if wanted != self._now and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, wanted)
            self._now = wanted
