"""Accuracy of a bundle and of the network it came from, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_mobile.bundle import Accuracy
from care_mobile.errors import UsageError
from care_mobile.evaluation.dataset import Dataset, open_dataset
from care_mobile.evaluation.images import UnreadableImage, read_image
from care_mobile.inputs import Array, Preprocessing

Answer = Callable[[Array], NDArray[np.generic]]
"""One image (1, C, H, W) in the input range -> scores (1, classes)."""


@dataclass(frozen=True)
class Labelled:
    """Images to measure on; `truth` and `reference` are classes, one per image."""

    dataset: Dataset
    truth: tuple[int, ...]
    reference: tuple[int, ...]

    def judge(self, answers: Sequence[int]) -> Accuracy:
        """Accuracy of the answers of a bundle, in the order of the dataset."""
        truth, reference = np.array(self.truth), np.array(self.reference)
        given = np.array(answers)
        return Accuracy(
            data=self.dataset.root.resolve().name,
            images=len(truth),
            top1=float(np.mean(given == truth)),
            reference_top1=float(np.mean(reference == truth)),
            # Two answers of NaN agree on nothing.
            agreement=float(np.mean((given == reference) & (given >= 0))),
        )


def label(
    root: Path,
    limit: int | None,
    seed: int,
    classes: int,
    preprocessing: Preprocessing,
    reference: Answer,
) -> Labelled:
    """Open a folder with one folder of images per class and let the network answer.

    Args:
        classes: of the network; folders, sorted by name, are its classes in order.
        reference: the eager float32 network.

    Raises:
        UsageError: if folders and classes do not match, or an image cannot be read.
    """
    dataset = open_dataset(root, limit, seed)
    found = len(dataset.folders)
    if found != classes:
        raise UsageError(
            f"--data {root} has {found} class folders, the network {classes} classes",
            "give one folder per class, named so that sorting brings the network's order",
        )
    index = {folder: number for number, folder in enumerate(dataset.folders)}
    truth = tuple(index[sample.folder] for sample in dataset.samples)
    return Labelled(dataset, truth, tuple(answer(dataset, preprocessing, reference)))


def answer(dataset: Dataset, preprocessing: Preprocessing, scores: Answer) -> Iterator[int]:
    """The class with the highest score for every image; -1 where a score is NaN.

    Raises:
        UsageError: if an image cannot be read.
    """
    for sample in dataset.samples:
        path = dataset.root / sample.path
        try:
            image = read_image(path, preprocessing)
        except UnreadableImage as problem:
            raise UsageError(f"image {path}: {problem}", "remove it from --data") from problem
        found = np.asarray(scores(image))
        yield -1 if np.isnan(found).any() else int(found.reshape(-1).argmax())
