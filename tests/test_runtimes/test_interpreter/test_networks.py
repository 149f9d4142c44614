"""Whole networks: converted, saved, read back and run, against PyTorch in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from converted import Array, converted, eager, picture
from families import FAMILIES
from torch import nn

from care_mobile import create_model
from care_mobile.agreement import psnr_db
from care_mobile.coreml import MLPackage
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.models.lively import draw
from care_mobile.runtimes.interpreter import Interpreter, Numerics

EXACT_RELATIVE = 1e-6
"""Weights and folded constants are float32 on both sides; all the rest is float64."""


def check(network: nn.Module, image: Array, folder: Path, ios: int = 17) -> None:
    reference = eager(network, image)

    single, half = (converted(network, image, folder, fp16, ios) for fp16 in (False, True))

    def run(package: MLPackage, numerics: Numerics) -> Array:
        output: Array = Interpreter(package, numerics).run({"image": image})["output"]
        return output.astype(np.float64)

    exact = run(single, Numerics.EXACT)
    assert np.abs(exact - reference).max() <= EXACT_RELATIVE * np.abs(reference).max()
    assert psnr_db(reference, run(single, Numerics.DECLARED)) >= 90.0
    declared = psnr_db(reference, run(half, Numerics.DECLARED))
    assert 40.0 <= declared < 90.0, "fp16 must hold, and must show"
    assert psnr_db(reference, run(half, Numerics.PESSIMISTIC)) >= 40.0


@pytest.mark.parametrize("size", [(64, 48), (96, 96)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str, size: tuple[int, int], tmp_path: Path) -> None:
    network = FAMILIES[family](size)
    draw(network, 0)
    check(network.eval().requires_grad_(False), picture(*size), tmp_path)


@pytest.mark.parametrize("ios", [15, 16, 18])
@pytest.mark.parametrize("family", ["convnext", "vit", "segmenter"])
def test_opsets(family: str, ios: int, tmp_path: Path) -> None:
    network = FAMILIES[family]((32, 32))
    draw(network, 1)
    check(network.eval().requires_grad_(False), picture(32, 32), tmp_path, ios)


CARE = [
    pytest.param("care_s0", (64, 96)),
    pytest.param("care_s0", (224, 224), marks=pytest.mark.slow),
    *(
        pytest.param(name, size, marks=pytest.mark.slow)
        for name in ("care_s1", "care_s2")
        for size in ((64, 96), (224, 224))
    ),
]


@pytest.mark.parametrize(("name", "size"), CARE)
def test_care(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    network = create_model(name)
    draw(network, 0)
    network.eval().requires_grad_(False)
    resolution = Resolution(height=size[0], width=size[1])
    proven = reparameterize(network, DEFAULT, Preprocessing(resolution=resolution), lively=True)
    check(proven.model.requires_grad_(False), picture(*size), tmp_path)
