"""What an evaluation found. `EvaluationReport` is the contract of `care-eval --json`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from ..bundle import ClassesFrom
from ..frozen import Frozen
from ..selection import PassedOver


class Proportion(Frozen):
    """`count` of `total`, with the 95 % Wilson interval; shares from 0 to 1."""

    count: int
    total: int
    share: float
    low: float
    high: float


class ClassCounts(Frozen):
    """One class folder: its images, and how many the network got right."""

    folder: str
    index: int = Field(description="class of the network")
    images: int
    top1: int
    top5: int | None = Field(description="None with five classes or fewer")


class Agreement(Frozen):
    """A bundle against the reference bundle, image by image.

    Attributes:
        same: images on which both give the same first class, right or wrong.
        gained: images that only this bundle gets right.
        lost: images that only the reference gets right.
        difference: top-1 accuracy minus the reference's, a share, with the 95 % interval of
            paired proportions (Agresti and Min 2005).
    """

    reference: str
    same: Proportion
    gained: int
    lost: int
    difference: float
    difference_low: float
    difference_high: float


class BundleAccuracy(Frozen):
    """Accuracy of one bundle. An image whose scores hold NaN is wrong, and counted in `nan`."""

    name: str
    integrity: str
    model: str
    target: str
    precision: str
    random_weights: bool
    runtime: dict[str, str]
    top1: Proportion
    top5: Proportion | None = Field(description="None with five classes or fewer")
    nan: int
    agreement: Agreement | None
    classes: tuple[ClassCounts, ...]


class SkippedImage(Frozen):
    """An image that could not be read."""

    path: str
    reason: str


class DatasetFacts(Frozen):
    """What was evaluated on; `fingerprint` is the SHA-256 over names and contents.

    `classes` counts the folders; `note` says what contradicts `classes_from`, if anything.
    """

    name: str
    fingerprint: str
    classes: int
    images: int
    limit: int | None
    seed: int
    skipped: tuple[SkippedImage, ...]
    ignored_files: int
    classes_from: ClassesFrom | None = Field(
        None, description="what says which class a folder is, for all bundles"
    )
    note: str = ""


class EvaluationReport(Frozen):
    """All bundles of one call on one dataset; `passed_over` was named too and is no bundle,
    `failed` are bundles that their runtime refuses or does not survive."""

    schema_version: Literal[1] = 1
    dataset: DatasetFacts
    reference: str | None
    bundles: tuple[BundleAccuracy, ...]
    passed_over: tuple[PassedOver, ...] = ()
    failed: tuple[PassedOver, ...] = ()
    created: datetime
