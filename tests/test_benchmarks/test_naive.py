"""Naive exports load like bundles and compute what PyTorch computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Classifier, lively, tiny_care

from benchmarks.naive import ALONE, CONVERTERS, Converter, write_bundle
from benchmarks.parts import Alone, Part, layers
from care_mobile.bundle import Bundle, Weights
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.runtimes import RuntimeOptions, get_runtime

SIDE = 64
WEIGHTS = Weights(source="random:0", random=True)
PREPROCESSING = Preprocessing(resolution=Resolution(width=SIDE, height=SIDE))


def results(bundle: Bundle, inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    session = get_runtime(bundle.manifest.runtime).load(bundle, RuntimeOptions())
    names = [spec.name for spec in bundle.manifest.inputs]
    return session.run({n: x.numpy() for n, x in zip(names, inputs, strict=True)})


@pytest.mark.parametrize(
    "converter",
    [converter for several in CONVERTERS.values() for converter in several],
    ids=lambda c: f"{c.target}-{c.name}",
)
def test_a_naive_export_is_a_bundle_that_agrees_with_torch(
    converter: Converter, tmp_path: Path
) -> None:
    model = lively(Classifier()).float()
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "naive"
    seconds = write_bundle(path, converter, model, (x,), "tiny", WEIGHTS, PREPROCESSING)
    bundle = Bundle.open(path)
    assert seconds > 0
    assert bundle.manifest.passes == ()
    assert bundle.manifest.census.total >= 5
    (found,) = results(bundle, (x,))
    np.testing.assert_allclose(found, model(x).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("target", ["onnx", "executorch"])
def test_layers_alone_agree_with_torch(target: str, tmp_path: Path) -> None:
    model = lively(tiny_care()).float()
    alone = Alone(layers(model, torch.zeros(1, 3, SIDE, SIDE))[Part.POINTWISE]).eval()
    inputs = tuple(torch.randn(shape) for shape in alone.shapes)
    write_bundle(tmp_path / "b", ALONE[target], alone, inputs, "tiny", WEIGHTS, PREPROCESSING)
    bundle = Bundle.open(tmp_path / "b")
    if target == "onnx":
        assert set(bundle.manifest.census.by_type) == {"Conv", "Gemm"}
    for have, want in zip(results(bundle, inputs), alone(*inputs), strict=True):
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-3, atol=1e-4)
