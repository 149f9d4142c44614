"""Images that show a quantizer which values occur."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from care_mobile.errors import UsageError
from care_mobile.evaluation.dataset import SUFFIXES
from care_mobile.evaluation.images import UnreadableImage, read_image
from care_mobile.inputs import Array, Preprocessing, sample_photos

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_COUNT = 64
BUILT_IN = "two photos"
MAX_COUNT = 4096

OnImage = Callable[[int, int], None]
"""Called with the number of images read and to read."""


def from_folder(
    folder: Path,
    preprocessing: Preprocessing,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
    on_image: OnImage = lambda done, total: None,
) -> Array:
    """`count` images below `folder`, drawn by `seed`, as (n, C, H, W) in the input range.

    All of them if there are fewer. Files of other kinds are passed over; links are not followed.

    Raises:
        UsageError: if the folder cannot be read, holds no image, or an image cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"--calibration {folder} is not a folder", "name a folder of images")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
    )
    if not files:
        raise UsageError(
            f"--calibration {folder} holds no image",
            f"it looks for {', '.join(sorted(SUFFIXES))} in it and its subfolders",
        )
    chosen = random.Random(seed).sample(files, min(count, len(files)))  # noqa: S311 - no secret
    images = []
    for index, path in enumerate(chosen):
        images.append(_read(path, preprocessing))
        on_image(index + 1, len(chosen))
    return np.concatenate(images)


def store(path: Path, images: Array) -> None:
    """Write calibration images to `path`, an .npz file, for another process."""
    np.savez(path, images=images)


def stored(path: Path) -> Array:
    """The images (n, C, H, W) that `store` wrote."""
    with np.load(path) as arrays:
        images: Array = arrays["images"]
    return images


def built_in(preprocessing: Preprocessing, count: int = DEFAULT_COUNT, seed: int = 0) -> Array:
    """`count` crops of the two photos that scikit-learn carries, (n, C, H, W) in the input range.

    Real textures at several scales, half of them mirrored, but only two scenes.

    Raises:
        MissingDependencyError: without scikit-learn.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    photos = sample_photos()
    crops = (_crop(photos[index % len(photos)], rng) for index in range(count))
    return np.concatenate([preprocessing.from_image(crop) for crop in crops])


def _crop(photo: Image, rng: random.Random) -> Image:
    from PIL import Image as pil

    scale = rng.uniform(0.35, 1.0)
    width, height = round(photo.width * scale), round(photo.height * scale)
    left = rng.randint(0, photo.width - width)
    top = rng.randint(0, photo.height - height)
    crop = photo.crop((left, top, left + width, top + height))
    return crop.transpose(pil.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop


def _read(path: Path, preprocessing: Preprocessing) -> Array:
    try:
        return read_image(path, preprocessing)
    except UnreadableImage as problem:
        raise UsageError(
            f"--calibration: {path} cannot be read as an image: {problem}",
            "remove it, or replace it",
        ) from problem
