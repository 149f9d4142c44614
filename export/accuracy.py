"""Accuracy of a bundle and of the network it came from, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_mobile.bundle import Accuracy
from care_mobile.errors import UsageError
from care_mobile.evaluation.classes import Claim, ClassMap, map_classes
from care_mobile.evaluation.dataset import Dataset, open_dataset
from care_mobile.evaluation.images import UnreadableImage, read_image
from care_mobile.inputs import Array, Preprocessing

Answer = Callable[[Array], NDArray[np.generic]]
"""One image (1, C, H, W) in the input range -> scores (1, classes)."""

NOTHING = -1
"""In place of a class where a score is NaN."""


@dataclass(frozen=True)
class Labelled:
    """Images to measure on; `truth` and `reference` are classes, one per image."""

    dataset: Dataset
    classes: ClassMap
    truth: tuple[int, ...]
    reference: tuple[int, ...]

    def judge(self, answers: Sequence[int]) -> Accuracy:
        """Accuracy of the answers of a bundle, in the order of the dataset.

        Raises:
            ValueError: if they are not as many as the images.
        """
        pairs = list(zip(answers, self.truth, self.reference, strict=True))
        count = len(pairs)
        return Accuracy(
            data=self.dataset.root.resolve().name,
            images=count,
            top1=sum(given == true for given, true, _ in pairs) / count,
            reference_top1=sum(wanted == true for _, true, wanted in pairs) / count,
            agreement=sum(given == wanted != NOTHING for given, _, wanted in pairs) / count,
            nan=sum(given == NOTHING for given in answers),
            classes_from=self.classes.source,
            note=self.classes.note,
        )


def label(
    root: Path,
    limit: int | None,
    seed: int,
    classes: tuple[str, ...] | None,
    network: Claim,
    preprocessing: Preprocessing,
    reference: Answer,
) -> Labelled:
    """Open a folder with one folder of images per class and let the network answer.

    Args:
        classes: folder name of each class, if they are given, as for `care-eval`.
        network: how many classes it has, and its labels.
        reference: the eager float32 network.

    Raises:
        UsageError: if folders and classes do not match, or an image cannot be read.
    """
    dataset = open_dataset(root, limit, seed)
    found = map_classes(dataset.folders, [network], classes)
    truth = tuple(found.indices[sample.folder] for sample in dataset.samples)
    return Labelled(dataset, found, truth, tuple(answer(dataset, preprocessing, reference)))


def answer(dataset: Dataset, preprocessing: Preprocessing, scores: Answer) -> Iterator[int]:
    """The class with the highest score for every image; `NOTHING` where a score is NaN.

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
        yield NOTHING if np.isnan(found).any() else int(found.reshape(-1).argmax())
