from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from care_mobile.evaluation.images import UnreadableImage, read_image
from care_mobile.inputs import InputRange, Preprocessing, Resolution

TAKES = Preprocessing(resolution=Resolution(width=8, height=6), input_range=InputRange.UNIT)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and ends where its pixels should begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + b"\0\0\1\0IDAT"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff", "ppm"])
def test_every_suffix_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.new("RGB", (20, 10), (255, 255, 255)).save(path)
    found = read_image(path, TAKES)
    assert found.shape == (1, 3, 6, 8)
    np.testing.assert_allclose(found, 1.0, atol=0.02)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_modes_of_eight_bits(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (9, 9)).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", TAKES).shape == (1, 3, 6, 8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not an image"),
        (png_header(12_000, 10_000), "more than 100 megapixels"),
        (png_header(30_000, 30_000), "decompression bomb"),
        (png_header(50_000, 1), "longer than 64 to 1"),
        (png_header(8, 8), "truncated|damaged"),
    ],
)
def test_what_is_no_image_has_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason):
        read_image(tmp_path / "image.png", TAKES)


def test_sixteen_bits_are_not_clipped_in_silence(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(UnreadableImage, match="I;16"):
        read_image(tmp_path / "deep.png", TAKES)


def test_a_missing_file_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="No such file"):
        read_image(tmp_path / "missing.png", TAKES)


@given(st.sampled_from(["png", "jpeg", "gif", "tiff"]), st.data())
def test_damage_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / f"image.{kind}"
    Image.linear_gradient("L").resize((16, 16)).save(path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    reason = "read"
    try:
        read_image(path, TAKES)
    except UnreadableImage as error:
        reason = str(error)
    assert reason
    assert "\n" not in reason
