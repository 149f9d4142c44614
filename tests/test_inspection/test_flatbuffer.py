"""Against buffers that the flatbuffers package builds."""

from __future__ import annotations

import struct

import flatbuffers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.inspection.flatbuffer import Table


def built(numbers: list[int], kind: int) -> bytes:
    """A table with (0) a byte, (1) nothing, (2) a vector, (3) two tables with a number each."""
    builder = flatbuffers.Builder(0)
    inner = []
    for number in (7, 9):
        builder.StartObject(1)
        builder.PrependUint32Slot(0, number, 0)
        inner.append(builder.EndObject())
    builder.StartVector(4, len(inner), 4)
    for table in reversed(inner):
        builder.PrependUOffsetTRelative(table)
    tables = builder.EndVector()
    builder.StartVector(4, len(numbers), 4)
    for number in reversed(numbers):
        builder.PrependUint32(number)
    vector = builder.EndVector()
    builder.StartObject(4)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(2, vector, 0)
    builder.PrependUOffsetTRelativeSlot(3, tables, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


@given(numbers=st.lists(st.integers(0, 2**32 - 1), max_size=5), kind=st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_fields_are_read(numbers: list[int], kind: int) -> None:
    table = Table.root(built(numbers, kind))
    assert table.scalar(0, "B") == kind
    assert table.scalar(1, "I") == 0
    assert table.integers(2) == tuple(numbers)
    assert [inner.scalar(0, "I") for inner in table.tables(3)] == [7, 9]
    assert table.scalar(40, "I") == 0
    assert table.integers(1) == ()


def test_an_absent_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="slot 1 is empty"):
        Table.root(built([], 1)).table(1)


@given(position=st.integers(0, 200), value=st.integers(0, 255), kept=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_damage_raises_what_is_documented(position: int, value: int, kept: int) -> None:
    data = bytearray(built([1, 2, 3], 5))
    data[position % len(data)] = value
    try:
        table = Table.root(bytes(data[: max(kept, 8)]))
        numbers = [*table.integers(2), *(inner.scalar(0, "I") for inner in table.tables(3))]
    except (struct.error, ValueError):
        numbers = []
    assert len(numbers) < len(data)


def test_tables_that_share_their_elements_are_not_read_for_hours() -> None:
    """2,000 references to one table with 2,000 references: 16 kB would be 4 million tables."""
    builder = flatbuffers.Builder(0)
    builder.StartObject(1)
    table = builder.EndObject()
    for _ in range(2):
        builder.StartVector(4, 2000, 4)
        for _ in range(2000):
            builder.PrependUOffsetTRelative(table)
        vector = builder.EndVector()
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        table = builder.EndObject()
    builder.Finish(table)
    root = Table.root(bytes(builder.Output()))
    with pytest.raises(ValueError, match="refer to each other more often"):
        sum(1 for outer in root.tables(0) for _ in outer.tables(0))
