"""A folder with one folder of images per class, as ImageNet's validation set has it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..bundle import file_sha256
from ..errors import UsageError

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MIN_CLASSES = 2

OnImage = Callable[[int, int], None]
"""Called with the number of images done and to do."""


class Sample(NamedTuple):
    """An image: its path below the dataset's folder, with /, and the name of its class folder."""

    path: str
    folder: str


class Dataset(NamedTuple):
    """What to evaluate on.

    `folders` and `samples` are sorted by name. `ignored` counts files without an image's suffix.
    """

    root: Path
    folders: tuple[str, ...]
    samples: tuple[Sample, ...]
    ignored: int
    seed: int

    def order(self) -> list[int]:
        """Indices of the samples, shuffled: the accuracy so far means something at any time."""
        return sorted(range(len(self.samples)), key=lambda i: _draw(self.seed, self.samples[i]))

    def fingerprint(self, on_image: OnImage = lambda done, total: None) -> str:
        """SHA-256 over names and contents of the samples: equal on every machine.

        Raises:
            UsageError: if an image cannot be read.
        """
        digest = hashlib.sha256("\0".join(self.folders).encode())
        for index, sample in enumerate(self.samples):
            try:
                content = file_sha256(self.root / sample.path)
            except OSError as error:
                raise UsageError(
                    f"image {self.root / sample.path} cannot be read: {error.strerror}",
                    "check its permissions",
                ) from error
            digest.update(f"\0{sample.path}\0{content}".encode())
            on_image(index + 1, len(self.samples))
        return digest.hexdigest()


def open_dataset(root: Path, limit: int | None = None, seed: int = 0) -> Dataset:
    """The images below the class folders of `root`, or `limit` of them drawn by `seed`.

    The draw with a smaller limit is part of the draw with a larger one. Names that start with a
    dot are passed over; links to folders are followed at the top only.

    Raises:
        UsageError: if there are not at least two classes, or a class has no image.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"--data {root} {what}", "name a folder with one folder per class")
    try:
        folders, samples, ignored = _scan(root)
    except OSError as error:
        raise UsageError(
            f"{error.filename or root} cannot be read: {error.strerror}", "check its permissions"
        ) from error
    drawn = sorted(samples, key=lambda sample: _draw(seed, sample))[:limit]
    return Dataset(root, folders, tuple(sorted(drawn)), ignored, seed)


def _scan(root: Path) -> tuple[tuple[str, ...], list[Sample], int]:
    entries = list(_entries(root))
    folders = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    if not folders:
        loose = sum(_is_image(entry.name) for entry in entries)
        what = f"{loose} images but no class folders" if loose else "no class folders"
        raise UsageError(f"--data {root} holds {what}", "put the images of each class in a folder")
    if len(folders) < MIN_CLASSES:
        raise UsageError(
            f"--data {root} holds one class only ({folders[0]!r}): any answer would look right",
            "name the folder that holds the class folders",
        )
    samples, ignored = [], sum(not entry.is_dir() for entry in entries)
    for folder in folders:
        found = list(_files(root / folder, folder))
        images = [Sample(path, folder) for path in found if _is_image(path)]
        if not images:
            raise UsageError(
                f"class folder {root / folder} holds no image",
                f"it is searched for {', '.join(sorted(SUFFIXES))}; remove it if it is no class",
            )
        samples += images
        ignored += len(found) - len(images)
    return folders, samples, ignored


def _entries(path: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, hidden names left out."""
    with os.scandir(path) as entries:
        for entry in entries:
            if any("\ud800" <= letter <= "\udfff" for letter in entry.name):
                raise UsageError(f"{path}: name {entry.name!a} is not UTF-8", "rename it")
            if not entry.name.startswith("."):
                yield entry


def _files(path: Path, name: str) -> Iterator[str]:
    """Regular files below `path`, as paths that start with `name`."""
    for entry in _entries(path):
        below = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path / entry.name, below)
        elif entry.is_file():  # no pipes: opening one would wait for ever
            yield below


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _draw(seed: int, sample: Sample) -> bytes:
    """A random number that depends on the seed and the path only."""
    return hashlib.sha256(f"{seed}:{sample.path}".encode()).digest()
