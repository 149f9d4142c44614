from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from care_mobile.errors import UsageError
from care_mobile.export.quantize.calibration import built_in, from_folder
from care_mobile.inputs import InputRange, Preprocessing, Resolution

SIZE = Preprocessing(resolution=Resolution(width=32, height=24))


def fill(folder: Path, count: int) -> Path:
    """`count` plain images, each of its own grey, in two subfolders."""
    for index in range(count):
        path = folder / f"class{index % 2}" / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (index, index, index)).save(path)
    return folder


def greys(images: np.ndarray) -> list[int]:
    """Means of images in 0..255."""
    return [round(float(image.mean())) for image in images]


def test_images_are_preprocessed_as_for_the_network(tmp_path: Path) -> None:
    images = from_folder(fill(tmp_path, 4), SIZE)
    assert images.shape == (4, 3, 24, 32)
    assert images.dtype == np.float32
    alone = SIZE.from_image(Image.new("RGB", (40, 40), (2, 2, 2)))
    assert any(np.array_equal(image, alone[0]) for image in images)


def test_the_draw_depends_on_the_seed_alone(tmp_path: Path) -> None:
    bytes_in = SIZE.model_copy(update={"input_range": InputRange.BYTE})
    fill(tmp_path, 20)
    first = greys(from_folder(tmp_path, bytes_in, count=5, seed=1))
    assert len(set(first)) == 5
    assert greys(from_folder(tmp_path, bytes_in, count=5, seed=1)) == first
    assert greys(from_folder(tmp_path, bytes_in, count=5, seed=2)) != first
    assert sorted(greys(from_folder(tmp_path, bytes_in, count=64))) == list(range(20))


def test_other_files_are_passed_over_and_links_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "images", 2)
    (tmp_path / "images" / "notes.txt").write_text("none")
    outside = fill(tmp_path / "outside", 1) / "class0" / "00.png"
    (tmp_path / "images" / "link.png").symlink_to(outside)
    assert len(from_folder(tmp_path / "images", SIZE)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a folder"),
        ({}, "holds no image"),
        ({"a.txt": b"text"}, "holds no image"),
        ({"a.png": b"no picture at all"}, "a.png cannot be read as an image"),
        ({"a.jpg": b""}, "a.jpg cannot be read as an image"),
    ],
)
def test_bad_folders(content: dict[str, bytes] | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        from_folder(folder, SIZE)
    assert caught.value.hint


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    path = fill(tmp_path, 1) / "class0" / "00.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UsageError, match=r"00\.png cannot be read"):
        from_folder(tmp_path, SIZE)


def test_the_built_in_crops() -> None:
    images = built_in(SIZE, count=6, seed=3)
    assert images.shape == (6, 3, 24, 32)
    assert len({image.tobytes() for image in images}) == 6
    assert np.array_equal(images, built_in(SIZE, count=6, seed=3))
    assert not np.array_equal(images, built_in(SIZE, count=6, seed=4))
