"""Networks that targets stumble over, through the command line: right, or refused in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_mobile.bundle import Bundle
from care_mobile.runtimes import RuntimeOptions, get_runtime

from .commands import run

RUNTIMES = {"coreml": "coreml-interpreter", "onnx": "onnxruntime", "executorch": "executorch"}


def export(case: str, folder: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    ended = run(
        "care-export", "-m", f"cases:{case}", "-w", "as-built", "-r", "32", "-t", "all", "--json",
        "-o", "out", *arguments, cwd=folder,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, ended.stderr, json.loads(ended.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "channels"),
    [("constants", 3), ("numbers", 3), ("again", 3), ("pools", 3), ("grey_channels_last", 1)],
)
def test_every_target_has_it_and_says_what_it_is(tmp_path: Path, case: str, channels: int) -> None:
    code, errors, report = export(case, tmp_path, "--in-channels", str(channels))
    assert (code, {b["status"] for b in report["bundles"]}) == (0, {"verified"}), errors
    for made in report["bundles"]:
        bundle = Bundle.open(tmp_path / "out" / Path(made["path"]).name)
        (image,) = bundle.manifest.inputs
        assert image.shape == (1, channels, 32, 32)
        session = get_runtime(RUNTIMES[made["target"]]).load(bundle, RuntimeOptions())
        answers = session.run({image.name: np.ones(image.shape, np.float32)})
        found = [(answer.shape, str(answer.dtype)) for answer in map(np.asarray, answers)]
        assert found == [(spec.shape, spec.dtype) for spec in bundle.manifest.arrays]


@pytest.mark.slow
def test_an_operator_that_no_target_has_is_named(tmp_path: Path) -> None:
    code, _, report = export("without_kernel", tmp_path)
    assert code != 0
    for made in report["bundles"]:
        message = made["failure"]["message"]
        assert "digamma" in message
        assert not any(text in message for text in ("\n", "\x1b", "step 3/3", ".partial-"))
    assert not list((tmp_path / "out").iterdir())
