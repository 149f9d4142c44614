"""As much of the flatbuffer format as reading a table by slot numbers needs."""

from __future__ import annotations

import struct
from collections.abc import Iterator


class _Buffer:
    """The data, and how many more tables may be read from them.

    A table takes at least four bytes, so an honest file has fewer than a quarter of its bytes; a
    hostile one lets long vectors share their elements, and would be read for hours.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self.remaining = 4 * len(data)


class Table:
    """A table inside some data, whose position was read from there and is not trusted.

    Every method raises `struct.error` or `ValueError` where the data end too early.
    """

    def __init__(self, buffer: _Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        buffer.remaining -= 1
        if buffer.remaining < 0:
            raise ValueError("tables refer to each other more often than a file needs")
        self._slots = position - self._number("i", position)

    @classmethod
    def root(cls, data: bytes | memoryview) -> Table:
        """The table that a whole buffer is."""
        return cls(_Buffer(data), struct.unpack_from("<I", data)[0])

    def scalar(self, slot: int, kind: str) -> int:
        """A whole number, in the letters of `struct`; 0 where it is left out."""
        place = self._place(slot)
        return self._number(kind, place) if place else 0

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return bool(self._place(slot))

    def table(self, slot: int) -> Table:
        """Raises: ValueError: if it is left out."""
        place = self._place(slot)
        if not place:
            raise ValueError(f"slot {slot} is empty")
        return self._follow(place)

    def tables(self, slot: int) -> Iterator[Table]:
        return (self._follow(place) for place in self._vector(slot, 4))

    def integers(self, slot: int, kind: str = "I") -> tuple[int, ...]:
        """A vector of numbers, in the letters of `struct`."""
        places = self._vector(slot, struct.calcsize(kind))
        self._buffer.remaining -= len(places)
        if self._buffer.remaining < 0:
            raise ValueError("vectors overlap more often than a file needs")
        return tuple(self._number(kind, place) for place in places)

    def text(self, slot: int) -> str:
        """A string; empty where it is left out."""
        return bytes(self.blob(slot)).decode("utf-8", "replace")

    def blob(self, slot: int) -> bytes | memoryview:
        """A vector of bytes, not copied where the data are a view; empty where it is left out."""
        places = self._vector(slot, 1)
        return self._buffer.data[places.start : places.stop]

    def _vector(self, slot: int, width: int) -> range:
        """Places of the elements of a vector."""
        place = self._place(slot)
        if not place:
            return range(0)
        start = place + self._number("I", place)
        count = self._number("I", start)
        if start + 4 + width * count > len(self._buffer.data):
            raise ValueError("a vector ends behind the data")
        return range(start + 4, start + 4 + width * count, width)

    def _place(self, slot: int) -> int:
        """Where a field lies; 0 where it is left out."""
        offset = 4 + 2 * slot
        if offset >= self._number("H", self._slots):
            return 0
        relative = self._number("H", self._slots + offset)
        return self._position + relative if relative else 0

    def _follow(self, place: int) -> Table:
        return Table(self._buffer, place + self._number("I", place))

    def _number(self, kind: str, place: int) -> int:
        if place < 0:  # would count from the end
            raise ValueError("a position before the data")
        return int(struct.unpack_from(f"<{kind}", self._buffer.data, place)[0])
