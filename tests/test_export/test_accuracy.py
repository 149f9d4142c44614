from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from care_mobile.bundle import read_manifest
from care_mobile.errors import UsageError
from care_mobile.export.accuracy import answer, label
from care_mobile.inputs import Array, InputRange, Preprocessing, Resolution

from .commands import run

PIXELS = Preprocessing(
    resolution=Resolution(width=32, height=32), input_range=InputRange.BYTE, mean=(0.0,) * 3,
    std=(1.0,) * 3,
)  # fmt: skip


def fill(folder: Path, classes: int = 10, each: int = 2) -> Path:
    """Plain images; the grey says the class, tens of it."""
    for number in range(classes):
        for copy in range(each):
            path = folder / f"class{number}" / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (10 * number,) * 3).save(path)
    return folder


def right(image: Array) -> np.ndarray:
    return np.eye(10)[[round(float(image.mean()) / 10)]]


def one_wrong(image: Array) -> np.ndarray:
    return np.roll(right(image), 1, 1) if image.mean() < 5 else right(image)


def test_answers_are_counted_against_truth_and_reference(tmp_path: Path) -> None:
    labelled = label(fill(tmp_path / "shades"), None, 0, 10, PIXELS, one_wrong)
    assert labelled.truth == tuple(n for n in range(10) for _ in range(2))
    found = labelled.judge(list(answer(labelled.dataset, PIXELS, right)))
    assert (found.data, found.images) == ("shades", 20)
    assert (found.top1, found.reference_top1, found.agreement) == (1.0, 0.9, 0.9)


def test_a_score_of_nan_is_no_answer(tmp_path: Path) -> None:
    labelled = label(fill(tmp_path), None, 0, 10, PIXELS, right)
    nothing = list(answer(labelled.dataset, PIXELS, lambda image: np.full((1, 10), np.nan)))
    assert labelled.judge(nothing).top1 == 0.0


def test_classes_must_match(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 3 class folders, the network 10 classes"):
        label(fill(tmp_path, 3), None, 0, 10, PIXELS, right)


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    (fill(tmp_path) / "class3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"bad\.png: not an image"):
        label(tmp_path, None, 0, 10, PIXELS, right)


def test_an_export_measures_it(tmp_path: Path) -> None:
    fill(tmp_path / "shades")
    ended = run(
        "care-export", "-m", "networks:Classifier", "-w", "random:1", "-t", "onnx", "-r", "32",
        "--data", "shades", "--data-limit", "12", "--output", "out", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (bundle,) = json.loads(ended.stdout)["bundles"]
    found = read_manifest(Path(tmp_path / "out" / bundle["name"])).accuracy
    assert found is not None
    assert found.model_dump() == bundle["accuracy"]
    assert found.images == 12
    assert found.agreement == 1.0
    assert found.top1 == found.reference_top1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data-limit", "3"], "--data-limit needs labelled images"),
        (["--keep-float", "3"], "--keep-float needs an integer precision"),
        (["--max-drop", "1"], "--max-drop needs an integer precision"),
        (["--calibration", "."], "--calibration needs an integer precision"),
        (["--data", ".", "--features-only"], "--data needs a classifier"),
        (["--data", "absent"], "--data absent does not exist"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    ended = run("care-export", "-t", "onnx", *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
