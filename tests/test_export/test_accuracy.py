from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import manifest_of
from PIL import Image

from care_mobile.bundle import Accuracy, Parity, read_manifest
from care_mobile.errors import MissingDependencyError, UsageError
from care_mobile.evaluation.classes import Claim
from care_mobile.export.accuracy import answer, label
from care_mobile.export.produce import _missing
from care_mobile.export.request import ExportRequest
from care_mobile.inputs import Array, InputRange, Preprocessing, Resolution

from .commands import run

PIXELS = Preprocessing(
    resolution=Resolution(width=32, height=32), input_range=InputRange.BYTE, mean=(0.0,) * 3,
    std=(1.0,) * 3,
)  # fmt: skip


TEN = Claim("the network", 10)


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
    labelled = label(fill(tmp_path / "shades"), None, 0, None, TEN, PIXELS, one_wrong)
    assert labelled.truth == tuple(n for n in range(10) for _ in range(2))
    found = labelled.judge(list(answer(labelled.dataset, PIXELS, right)))
    assert (found.data, found.images) == ("shades", 20)
    assert (found.top1, found.reference_top1, found.agreement) == (1.0, 0.9, 0.9)


def test_a_score_of_nan_is_no_answer(tmp_path: Path) -> None:
    labelled = label(fill(tmp_path), None, 0, None, TEN, PIXELS, right)
    nothing = list(answer(labelled.dataset, PIXELS, lambda image: np.full((1, 10), np.nan)))
    assert labelled.judge(nothing).top1 == 0.0
    assert labelled.judge(nothing).nan == 20
    none = label(
        tmp_path, None, 0, None, TEN, PIXELS, lambda image: np.full((1, 10), np.nan)
    ).judge(nothing)
    assert (none.reference_top1, none.agreement) == (0.0, 0.0)


def test_classes_must_match(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 class folders, but the network has 10"):
        label(fill(tmp_path, 3), None, 0, None, TEN, PIXELS, right)


def test_classes_are_those_of_care_eval(tmp_path: Path) -> None:
    fill(tmp_path)
    names = tuple(f"class{n}" for n in reversed(range(10)))
    for classes, network in ((names, TEN), (None, Claim("the network", 10, names))):
        labelled = label(tmp_path, None, 0, classes, network, PIXELS, right)
        assert labelled.truth == tuple(9 - n for n in range(10) for _ in range(2))
        assert labelled.judge(labelled.reference).classes_from == (
            "--classes" if classes else "labels"
        )


def test_numbered_folders_that_sort_as_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sort differently"):
        label(fill(tmp_path, 11), None, 0, None, Claim("the network", 11), PIXELS, right)


def test_answers_for_other_images_are_no_answers(tmp_path: Path) -> None:
    labelled = label(fill(tmp_path), None, 0, None, TEN, PIXELS, right)
    with pytest.raises(ValueError, match=r"zip\(\)"):
        labelled.judge([1])


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    (fill(tmp_path) / "class3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"bad\.png: not an image"):
        label(tmp_path, None, 0, None, TEN, PIXELS, right)


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
        (["--classes", "commands.txt"], "--classes commands.txt cannot be read: No such file"),
        (["--keep-float", "3"], "--keep-float does nothing for onnx in fp32"),
        (["--max-drop", "1"], "--max-drop needs labelled images"),
        (["--calibration", "."], "--calibration does nothing for onnx in fp32"),
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


def test_classes_without_data(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("a\nb\n")
    ended = run("care-export", "-t", "onnx", "--classes", "classes.txt", cwd=tmp_path)
    assert ended.returncode == 2
    assert "--classes needs labelled images" in ended.stderr


def accuracy(right: int, wanted: int, images: int) -> Accuracy:
    return Accuracy(
        data="d", images=images, top1=right / images, reference_top1=wanted / images, agreement=0
    )


@settings(deadline=None)
@given(images=st.integers(1, 5000), data=st.data())
def test_a_drop_of_what_is_allowed_is_allowed(images: int, data: st.DataObject) -> None:
    """As shares 0.99 - 0.98 is more than a point."""
    wanted = data.draw(st.integers(0, images))
    right = data.draw(st.integers(0, wanted))
    found = manifest_of(
        Path(), accuracy=accuracy(right, wanted, images), parity=Parity(status="verified"), files={}
    )
    lost = 100 * (wanted - right) / images
    assert _missing(ExportRequest(max_drop_points=lost), found) is None
    assert right == wanted or _missing(ExportRequest(max_drop_points=0.9999 * lost), found)


@pytest.mark.parametrize("limit", ["min_psnr_db", "max_drop_points"])
def test_a_limit_that_cannot_be_judged_here_is_an_error(limit: str) -> None:
    unknown = Parity(
        status="unverified", runtime="executorch", reason="was not run on this machine"
    )
    found = manifest_of(Path(), parity=unknown, files={})
    option = {"min_psnr_db": "--min-psnr", "max_drop_points": "--max-drop"}[limit]
    with pytest.raises(MissingDependencyError, match=f"{option} cannot be judged: executorch was"):
        _missing(ExportRequest(**{limit: 1.0}), found)
    assert _missing(ExportRequest(), found) is None
