"""Networks converted to Core ML as our users do it, saved, and read back from disk."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from care_mobile.coreml import MLPackage, open_package
from care_mobile.quiet import quiet

Array = NDArray[Any]

with quiet():
    import coremltools as ct


def picture(height: int, width: int, seed: int = 0) -> Array:
    """Noise of unit variance (1, 3, height, width), float32."""
    return np.random.default_rng(seed).standard_normal((1, 3, height, width)).astype(np.float32)


def convert(network: nn.Module, image: Array, path: Path, fp16: bool = False, ios: int = 17) -> Any:
    """Convert through torch.export for inputs like `image`, float32 outside; saved at `path`."""
    program = torch.export.export(network, (torch.from_numpy(image),)).run_decompositions({})
    with quiet():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[ct.TensorType(name="image", shape=image.shape)],
            outputs=[ct.TensorType(name="output", dtype=np.float32)],
            compute_precision=ct.precision.FLOAT16 if fp16 else ct.precision.FLOAT32,
            minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
            skip_model_load=True,
        )
        model.save(str(path))
    return model


def converted(
    network: nn.Module, image: Array, folder: Path, fp16: bool = False, ios: int = 17
) -> MLPackage:
    path = folder / f"network-{'fp16' if fp16 else 'fp32'}-{ios}.mlpackage"
    convert(network, image, path, fp16, ios)
    return open_package(path)


@torch.no_grad()
def eager(network: nn.Module, image: Array) -> Array:
    """The network's output in float64."""
    exact = copy.deepcopy(network).double()
    output: Array = exact(torch.from_numpy(image).double()).numpy()
    return output
