"""True accuracy of every target and precision, on digits that no training ever saw."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from digits.data import Digits, inputs
from digits.network import PREPROCESSING

from care_mobile.evaluation.dataset import open_dataset
from care_mobile.evaluation.evaluate import EvaluationRequest, evaluate
from care_mobile.export.pipeline import export_bundles
from care_mobile.export.request import ExportRequest
from care_mobile.export.result import BundleResult
from care_mobile.export.targets import TARGETS, Options

from .conftest import WEIGHTS
from .test_network import trained

MAX_DIFFERENCE = 0.005
"""Share of the images by which the number of right answers may differ."""
INTERPRETED = 400
"""Images for our Core ML interpreter, which takes 15 ms each."""
MEASURED = 50
"""Images for every export."""
PROMISED = {"fp32", "fp16", "int8"}
EVERY = [
    # The others are tried too, only not in every run.
    pytest.param(
        target.name,
        precision,
        marks=() if precision in PROMISED else pytest.mark.slow,
        id=f"{target.name}-{precision}",
    )
    for target in TARGETS
    for precision in target.precisions
]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""Names of the classes in the network's order, which is not that of the sorted names."""

Export = Callable[[str], dict[str, BundleResult]]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, folders: Path) -> Path:
    """The held-out images in folders zero, one, two, ..."""
    root = tmp_path_factory.mktemp("words")
    for digit, word in enumerate(WORDS):
        (root / word).symlink_to(folders / "held-out" / str(digit))
    return root


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, folders: Path, words: Path) -> Export:
    """Labelled bundles of one precision by target; those of a precision are exported together,
    once."""
    output = tmp_path_factory.mktemp("bundles")

    @cache
    def export(precision: str) -> dict[str, BundleResult]:
        request = ExportRequest(
            models=("digits.network:digits",),
            weights=str(WEIGHTS),
            targets=tuple(t.name for t in TARGETS if precision in t.precisions),
            precisions=(precision,),
            in_channels=1,
            resolutions=(PREPROCESSING.resolution,),
            output=output,
            options=Options(labels=WORDS),
            data=words,
            data_limit=MEASURED,
            keep_failed=True,  # parity has tests of its own
        )
        if request.calibrates():
            request = request.model_copy(update={"calibration": folders / "training"})
        report = export_bundles(request)
        return {found.target: found for found in report.bundles}

    return export


@pytest.fixture(scope="module")
def eager(held_out: Digits) -> dict[str, bool]:
    """Whether the network before any pass is right, by the image's path."""
    with torch.no_grad():
        answers = trained()(torch.from_numpy(inputs(held_out.images))).argmax(1).numpy()
    return {
        f"{WORDS[label]}/{place:04}.png": bool(answer == label)
        for answer, label, place in zip(answers, held_out.labels, held_out.places, strict=True)
    }


@pytest.mark.parametrize(("target", "precision"), EVERY)
def test_every_target_and_precision_is_as_accurate_as_the_network(
    bundles: Export,
    eager: dict[str, bool],
    words: Path,
    tmp_path: Path,
    target: str,
    precision: str,
) -> None:
    exported = bundles(precision)[target]
    assert exported.path is not None, exported.failure
    request = EvaluationRequest(
        bundles=(exported.path,),
        data=words,
        limit=INTERPRETED if target == "coreml" else None,
        output=tmp_path / "evaluation.json",
    )
    (found,) = evaluate(request).bundles
    samples = open_dataset(request.data, request.limit).samples
    right = sum(eager[sample.path] for sample in samples)
    assert found.top1.total == len(samples)
    assert abs(found.top1.count - right) <= MAX_DIFFERENCE * len(samples)


def test_one_table_has_one_mapping_of_classes(
    bundles: Export, eager: dict[str, bool], words: Path, tmp_path: Path
) -> None:
    """The labels of all targets say which folder is which, in care-export as in care-eval."""
    exported = bundles("fp32")
    request = EvaluationRequest(
        bundles=tuple(found.path for found in exported.values() if found.path is not None),
        data=words,
        reference=exported["onnx"].path,
        limit=MEASURED,
        output=tmp_path / "evaluation.json",
    )
    report = evaluate(request)
    assert report.dataset.classes_from == "labels"
    right = sum(eager[sample.path] for sample in open_dataset(words, MEASURED).samples)
    assert right > 0.9 * MEASURED
    assert {found.target: found.top1.count for found in report.bundles} == dict.fromkeys(
        ("coreml", "onnx", "executorch"), right
    )
    for found in exported.values():
        assert found.accuracy is not None
        assert found.accuracy.classes_from == "labels"
        assert found.accuracy.top1 == found.accuracy.reference_top1 == right / MEASURED
