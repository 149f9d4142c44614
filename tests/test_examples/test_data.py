from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from digits.data import Digits, Part, inputs, load, write
from PIL import Image

from care_mobile.evaluation.dataset import open_dataset


def test_the_held_out_images_never_change(held_out: Digits) -> None:
    """Every published accuracy is on these."""
    digest = hashlib.sha256(held_out.places.astype("<i8").tobytes()).hexdigest()
    assert digest == "fb5e8fdb7a1c4974f0477b527f6ade1483523e7463fd2116c9ba56de14e3088c"


def test_parts_share_no_image_and_are_stratified() -> None:
    parts = [load(part) for part in Part]
    places = np.concatenate([part.places for part in parts])
    assert sorted(places) == list(range(5000))
    counts = [set(np.bincount(part.labels)) for part in parts]
    assert counts == [{300}, {100}, {100}]


def test_equal_images_in_two_parts_would_leak() -> None:
    images = load(*Part).images
    assert len(np.unique(images.reshape(5000, -1), axis=0)) == 5000


def test_folders_hold_the_parts(folders: Path, held_out: Digits) -> None:
    found = open_dataset(folders / "held-out")
    assert found.folders == tuple("0123456789")
    assert len(found.samples) == 1000
    label, place = int(held_out.labels[-1]), int(held_out.places[-1])
    image = np.asarray(Image.open(folders / "held-out" / str(label) / f"{place:04}.png"))
    np.testing.assert_array_equal(image, held_out.images[-1])
    assert len(list(folders.glob("training/*/*.png"))) == 3000


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        write(tmp_path)


def test_inputs_are_what_the_manifest_says(held_out: Digits) -> None:
    found = inputs(held_out.images[:3])
    assert found.shape == (3, 1, 64, 64)
    assert (found.min(), found.max()) == (-1.0, 1.0)
