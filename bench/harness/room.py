"""What still fits into a round's file: whoever reads one beyond a limit refuses all of it."""

from __future__ import annotations

from typing import NamedTuple

from ..protocol.base import (
    MAX_COMMAS,
    MAX_LINE_BYTES,
    MAX_LINES,
    MAX_LISTS,
    MAX_ROUND_BYTES,
)
from .tools import UnsaidError

_KEPT = 20
"""One part of so many is kept for the lines that say what failed, and for the end."""


class Held(NamedTuple):
    """What lines hold, in the words of the protocol's page."""

    bytes: int
    lines: int
    lists: int
    commas: int


MOST = Held(MAX_ROUND_BYTES, MAX_LINES, MAX_LISTS, MAX_COMMAS)


class Room:
    """Counts what was written."""

    def __init__(self, most: Held = MOST) -> None:
        self._most = most
        self._held = Held(0, 0, 0, 0)

    def take(self, line: bytes, closing: bool) -> None:
        """Count a line with its end that is about to be written.

        Args:
            closing: whether it may use what is kept for the last lines.

        Raises:
            UnsaidError: `too-large` if it would pass a limit.
        """
        if len(line) > MAX_LINE_BYTES:
            raise _too_large(f"a line of at most {MAX_LINE_BYTES >> 20} MiB")
        added = Held(len(line), 1, line.count(b"[") + line.count(b"{"), line.count(b","))
        after = Held(*(have + more for have, more in zip(self._held, added, strict=True)))
        for found, most, what in zip(after, self._most, Held._fields, strict=True):
            if found > (most if closing else most - most // _KEPT):
                raise _too_large(f"a file of at most {most} {what}")
        self._held = after


def _too_large(where: str) -> UnsaidError:
    return UnsaidError("too-large", f"what it measured does not fit into {where}; ask for less")
