"""Layers of ML Programs that compute on integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import lively, tiny_care
from torch import Tensor, nn

from care_mobile.coreml import MLPackage, Ref
from care_mobile.errors import UsageError
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.parity import THRESHOLDS
from care_mobile.export.quantize.coreml_int8 import input_ranges
from care_mobile.export.reparam import DEFAULT, further
from care_mobile.export.targets import Options
from care_mobile.export.targets.coreml import CoreMLTarget
from care_mobile.inputs import Preprocessing, Resolution

from .coreml_lowering import Convolutions, agreement_db, images, kinds, lower


def inputs_of(package: MLPackage) -> dict[str, str]:
    """What computes the input of every layer, by the layer."""
    producers = {o.outputs[0].name: o.type for o in package.main.operations}
    found = {}
    for operation in package.main.operations:
        if operation.type in ("conv", "linear"):
            (x,) = operation.inputs["x"]
            assert isinstance(x, Ref)
            found[operation.name] = producers.get(x.name, "input")
    return found


@pytest.mark.parametrize("ios", [17, 18])
def test_what_is_written(ios: int, tmp_path: Path) -> None:
    network = Convolutions().eval()
    lowered, package = lower(network, tmp_path, "int8", ios, calibration=images())
    assert lowered.rewrites["weights as 8-bit integers"] == 4
    assert set(inputs_of(package).values()) == {"dequantize"}
    # The image, the value that two layers read, and the mean.
    assert kinds(package, "quantize") == kinds(package, "dequantize") == 3
    assert agreement_db(network, package, images()) >= 32.0


def test_layers_that_are_asked_to_stay_float(tmp_path: Path) -> None:
    network = Convolutions().eval()
    lowered, package = lower(
        network, tmp_path, "int8", keep_float=("conv2d", "linear"), calibration=images()
    )
    assert lowered.rewrites["layers left in float"] == 2
    found = inputs_of(package)
    assert [name for name, kind in found.items() if kind == "dequantize"] == [
        "conv2d_1_cast_fp16",
        "conv2d_2_cast_fp16",
    ]


def test_calibration_decides_the_range(tmp_path: Path) -> None:
    network = Convolutions().eval()
    found = {}
    for scale in (0.2, 1.0):
        folder = tmp_path / str(scale)
        _, package = lower(network, folder, "int8", calibration=np.float32(scale) * images())
        found[scale] = agreement_db(network, package, images())
    assert found[0.2] + 6 < found[1.0]


def test_int8_needs_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calibration"):
        lower(Convolutions().eval(), tmp_path, "int8")


class Scaled(nn.Module):
    """Layers whose inputs are ordinary, beyond fp16's range, and too small for fp16's scales."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scales = (1.0, 1e5, 1e-3)
        return sum(layer(s * x) for layer, s in zip(self.layers, scales, strict=True))  # type: ignore[return-value]


def test_ranges_are_of_the_inputs_over_all_images() -> None:
    stack = images(3, 8)
    program = torch.export.export(Scaled().eval(), (torch.from_numpy(stack[:1]),))
    assert input_ranges(program, stack) == {"conv2d": (float(stack.min()), float(stack.max()))}
    low = np.abs(stack)
    assert input_ranges(program, low)["conv2d"][0] == 0.0


def test_a_care_reaches_its_threshold(tmp_path: Path) -> None:
    about = Preprocessing(resolution=Resolution(width=64, height=64))
    network = lively(tiny_care()).float()
    passes = CoreMLTarget().variant(Options(), "int8").passes
    fast = reparameterize(network, DEFAULT, about, lively=True).then(further(passes, DEFAULT)).model
    lowered, package = lower(fast.float(), tmp_path, "int8", calibration=images(4, 64), side=64)
    assert lowered.rewrites["weights as 8-bit integers"] > 30
    least = THRESHOLDS["coreml", "int8"]["ordinary"].min_psnr_db
    assert least is not None
    assert agreement_db(network, package, images(4, 64)) >= least
