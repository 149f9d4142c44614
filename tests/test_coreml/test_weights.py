from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.coreml.types import BITS
from care_mobile.coreml.weights import DTYPES, WeightFile
from care_mobile.errors import ModelFileError
from care_mobile.quiet import quiet

with quiet():
    from coremltools.converters.mil.mil import types
    from coremltools.libmilstoragepython import _BlobStorageWriter

SHAPE = (3, 5)
STORED = sorted(set(DTYPES.values()) - {"bf16"})


def values(dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype.startswith("fp"):
        return rng.standard_normal(SHAPE).astype(f"float{dtype[2:]}")
    low, high = (0, 2 ** BITS[dtype])
    if dtype.startswith("int"):
        low, high = low - high // 2, high - high // 2
    return rng.integers(low, high, SHAPE).astype(types.string_to_nptype(dtype))


def write(writer, dtype: str, array: np.ndarray) -> int:
    """The offset at which coremltools' own writer puts it."""
    flat = np.ascontiguousarray(array.ravel())
    if dtype == "fp16":
        return writer.write_fp16_data(flat.view(np.uint16))
    return getattr(writer, f"write_{'float' if dtype == 'fp32' else dtype}_data")(flat)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file with a blob of every type, and their offsets."""
    path = tmp_path_factory.mktemp("weights") / "weight.bin"
    writer = _BlobStorageWriter(str(path))
    offsets = {dtype: write(writer, dtype, values(dtype)) for dtype in STORED}
    del writer
    return path, offsets


@pytest.mark.parametrize("dtype", STORED)
def test_blobs_as_coremltools_writes_them(stored, dtype):
    path, offsets = stored
    array = WeightFile(path).array(offsets[dtype], dtype, SHAPE)
    assert array.dtype == values(dtype).dtype
    assert type(array) is np.ndarray
    np.testing.assert_array_equal(array, values(dtype))


def test_flags_are_bytes(stored):
    path, offsets = stored
    flags = WeightFile(path).array(offsets["uint8"], "bool", SHAPE)
    np.testing.assert_array_equal(flags, values("uint8") != 0)


def test_blobs_are_views_that_cannot_be_written(stored):
    path, offsets = stored
    array = WeightFile(path).array(offsets["fp32"], "fp32", SHAPE)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


@pytest.fixture
def one(tmp_path):
    """Bytes of a file with one fp32 blob, its record at 64 and its data at 128."""
    path = tmp_path / "one.bin"
    writer = _BlobStorageWriter(str(path))
    assert write(writer, "fp32", values("fp32")) == 64
    del writer
    data = bytearray(path.read_bytes())
    assert len(data) == 128 + 60
    return data


def refusal(tmp_path, data, offset=64, dtype="fp32", shape=SHAPE) -> str:
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        WeightFile(path).array(offset, dtype, shape)
    message = str(caught.value)
    assert caught.value.hint == "copy it again"
    assert message.startswith("the weight file 'bad.bin' is damaged: ")
    return message.partition(": ")[2]


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (0, "it is empty"),
        (63, "it ends within its header"),
        (64, "the program refers to offset 64 of 64"),
        (95, "the program refers to offset 64 of 95"),
        (128, "the blob at 64 ends behind the end of the file"),
        (187, "the blob at 64 ends behind the end of the file"),
    ],
)
def test_truncated_files_are_refused(one, tmp_path, size, why):
    assert refusal(tmp_path, one[:size]) == why


@pytest.mark.parametrize("offset", [1, 32, 192, 2**40, 2**64 - 64])
def test_offsets_outside_are_refused(one, tmp_path, offset):
    assert refusal(tmp_path, one, offset) == f"the program refers to offset {offset} of 188"


@pytest.mark.parametrize("offset", [0, 128])
def test_a_place_without_mark_is_refused(one, tmp_path, offset):
    one += b"\0" * 64
    assert refusal(tmp_path, one, offset) == f"there is no blob at offset {offset}"


def patched(data, place, layout, value):
    struct.pack_into(layout, data, place, value)
    return data


def test_other_versions_marks_types_and_sizes_are_refused(one, tmp_path):
    def patch(place, layout, value):
        return patched(bytearray(one), place, layout, value)

    assert refusal(tmp_path, patch(4, "<I", 1)) == "it has version 1, not 2"
    assert refusal(tmp_path, patch(64, "<I", 7)) == "there is no blob at offset 64"
    assert refusal(tmp_path, patch(68, "<I", 1)) == "the blob at 64 holds fp16, not fp32"
    assert refusal(tmp_path, patch(68, "<I", 77)) == "the blob at 64 holds type 77, not fp32"
    assert refusal(tmp_path, patch(72, "<Q", 56)) == "the blob at 64 has 56 bytes for fp32[3, 5]"
    behind = "the blob at 64 ends behind the end of the file"
    for start in (192, 2**63, 2**64 - 1):
        assert refusal(tmp_path, patch(80, "<Q", start)) == behind
    wrong = "the blob at 64 has 60 bytes for fp32[4, 4]"
    assert refusal(tmp_path, one, shape=(4, 4)) == wrong
    assert refusal(tmp_path, one, dtype="int64") == "the blob at 64 holds fp32, not int64"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"^the weight file 'no.bin' is missing$"):
        WeightFile(tmp_path / "no.bin")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_corrupted_file_gives_no_other_error(data, stored, tmp_path_factory):
    """Headers and records are hit; whatever is read has the shape that was asked for."""
    path, offsets = stored
    content = bytearray(path.read_bytes())
    dtype = data.draw(st.sampled_from(STORED))
    record = offsets[dtype]
    places = st.integers(0, 7) | st.integers(record, record + 39)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    size = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    damaged = tmp_path_factory.mktemp("fuzz") / "weight.bin"
    damaged.write_bytes(content[:size])
    with contextlib.suppress(ModelFileError):
        array = WeightFile(damaged).array(record, dtype, SHAPE)
        assert array.shape == SHAPE
