"""As much of the flatbuffer format as reading a table by slot numbers needs."""

from __future__ import annotations

import struct
from collections.abc import Iterator


class Table:
    """A table inside `data`, whose position was read from there and is not trusted.

    Every method raises `struct.error` or `ValueError` where the data end too early.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._slots = position - self._number("i", position)

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that a whole buffer is."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def scalar(self, slot: int, kind: str) -> int:
        """A whole number, in the letters of `struct`; 0 where it is left out."""
        place = self._place(slot)
        return self._number(kind, place) if place else 0

    def table(self, slot: int) -> Table:
        """Raises: ValueError: if it is left out."""
        place = self._place(slot)
        if not place:
            raise ValueError(f"slot {slot} is empty")
        return self._follow(place)

    def tables(self, slot: int) -> Iterator[Table]:
        return (self._follow(place) for place in self._vector(slot))

    def integers(self, slot: int) -> tuple[int, ...]:
        """A vector of unsigned 32-bit numbers."""
        return tuple(self._number("I", place) for place in self._vector(slot))

    def _vector(self, slot: int) -> range:
        """Places of the elements of a vector of 4 bytes each."""
        place = self._place(slot)
        if not place:
            return range(0)
        start = place + self._number("I", place)
        count = self._number("I", start)
        if start + 4 + 4 * count > len(self._data):
            raise ValueError("a vector ends behind the data")
        return range(start + 4, start + 4 + 4 * count, 4)

    def _place(self, slot: int) -> int:
        """Where a field lies; 0 where it is left out."""
        offset = 4 + 2 * slot
        if offset >= self._number("H", self._slots):
            return 0
        relative = self._number("H", self._slots + offset)
        return self._position + relative if relative else 0

    def _follow(self, place: int) -> Table:
        return Table(self._data, place + self._number("I", place))

    def _number(self, kind: str, place: int) -> int:
        if place < 0:  # would count from the end
            raise ValueError("a position before the data")
        return int(struct.unpack_from(f"<{kind}", self._data, place)[0])
