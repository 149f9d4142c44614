from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from care_mobile.bundle import Bundle
from care_mobile.errors import MissingDependencyError, UsageError
from care_mobile.runtimes import RuntimeOptions, coreml, get_runtime
from care_mobile.runtimes.coreml import _as_image

RUNTIME = get_runtime("coreml")


@pytest.mark.skipif(sys.platform == "darwin", reason="usable there")
def test_not_usable_here_with_the_reason(write_bundle: Callable[..., Path]) -> None:
    found = RUNTIME.availability()
    assert not found.usable
    assert "macOS only" in found.detail
    assert "Mac" in found.remedy
    bundle = Bundle.open(write_bundle(runtime="coreml"))
    with pytest.raises(MissingDependencyError, match="macOS only") as caught:
        RUNTIME.load(bundle, RuntimeOptions())
    assert caught.value.exit_code == 5
    assert "Mac" in caught.value.hint


def test_on_a_mac_it_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: "9.0")
    assert RUNTIME.availability().usable
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: None)
    found = RUNTIME.availability()
    assert not found.usable
    assert "care-mobile[export]" in found.remedy


def test_image_inputs_become_pictures() -> None:
    pixels = np.zeros((1, 3, 2, 4), np.float32)
    pixels[0, :, 1, 3] = 254.6, 300.0, -5.0
    image = _as_image(pixels)
    assert (image.mode, image.size) == ("RGB", (4, 2))
    assert image.getpixel((3, 1)) == (255, 255, 0)
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert _as_image(pixels[:, :1]).mode == "L"


class StandIn:
    """Answers as coremltools' MLModel does on a Mac: outputs by name, a classifier's as scores."""

    def __init__(self, path: str, compute_units: str) -> None:
        self.units = compute_units
        self.asked: list[dict[str, object]] = []

    def predict(self, inputs: dict[str, object]) -> dict[str, object]:
        self.asked.append(inputs)
        scores = {"cat": np.float32(0.25), "ant": np.float32(0.75)}
        return {"logits": np.ones((1, 2), np.float32), "label": "ant", "label_probs": scores}


def _tools() -> SimpleNamespace:
    units = SimpleNamespace(ALL="any", CPU_ONLY="c", CPU_AND_GPU="c+g", CPU_AND_NE="c+n")
    return SimpleNamespace(models=SimpleNamespace(MLModel=StandIn), ComputeUnit=units)


@pytest.mark.parametrize(
    ("unit", "given"), [("all", "any"), ("cpu", "c"), ("gpu", "c+g"), ("npu", "c+n")]
)
def test_the_unit_that_is_asked_for(
    unit: str, given: str, write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coreml, "load", lambda name, extra: _tools())
    bundle = Bundle.open(write_bundle(runtime="coreml"))
    session = coreml.CoreMLModel(bundle, RuntimeOptions(unit=unit))
    assert session._model.units == given
    with pytest.raises(UsageError, match="compute unit"):
        coreml.CoreMLModel(bundle, RuntimeOptions(unit="tpu"))


@pytest.mark.parametrize("labels", [(), ("ant", "cat")])
def test_outputs_in_the_manifests_order(
    labels: tuple[str, ...], write_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = _tools()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coreml, "load", lambda name, extra: tools)
    bundle = Bundle.open(write_bundle(runtime="coreml", labels=labels))
    session = RUNTIME.load(bundle, RuntimeOptions())
    spec = bundle.manifest.inputs[0]
    shape = tuple(side or 1 for side in spec.shape)
    (output,) = session.run({spec.name: np.zeros(shape, np.float32)})
    assert output.tolist() == ([[0.75, 0.25]] if labels else [[1.0, 1.0]])
