"""Small networks lowered to Core ML as an export does it, and their answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from care_mobile.coreml import MLPackage, open_package
from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.targets import LowerJob, Options, Variant
from care_mobile.export.targets.coreml import MODEL_FILE, CoreMLTarget
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter

CHANNELS, SIDE = 3, 8


class Call(nn.Module):
    """A network that is one function of an image."""

    def __init__(self, function: Callable[[Tensor], Any], **buffers: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Any:
        held = inspect.signature(self.function).parameters
        return self.function(x, *(getattr(self, name) for name in list(held)[1:]))


def image(side: int = SIDE, low: float = -3.0, high: float = 3.0) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.rand((1, CHANNELS, side, side), generator=draw) * (high - low) + low


def lowered(
    network: nn.Module, folder: Path, side: int = SIDE, precision: str = "fp32"
) -> MLPackage:
    about = Preprocessing(resolution=Resolution(width=side, height=side))
    program = capture(network.eval().requires_grad_(False), about, Variant())
    job = LowerJob(
        model="network",
        precision=precision,
        inputs=(input_spec(about, Variant(), image=False),),
        outputs=output_specs(program, Variant()),
        preprocessing=about,
        weights="as-built",
        options=Options(),
    )
    with quiet():
        CoreMLTarget().lower(program, job, folder)
    return open_package(folder / MODEL_FILE)


def assert_right(network: nn.Module, folder: Path, x: Tensor | None = None) -> MLPackage:
    """The package gives every output of the network, in its order and shape, to float32."""
    x = image() if x is None else x
    package = lowered(network, folder, side=x.shape[-1])
    found = Interpreter(package).run({"image": x.numpy()})
    with torch.no_grad():
        wanted = network(x)
    outputs = [wanted] if isinstance(wanted, Tensor) else list(wanted)
    assert len(found) == len(outputs)
    for have, want in zip(found.values(), outputs, strict=True):
        assert np.shape(have) == tuple(want.shape)
        scale = float(want.abs().max()) if want.is_floating_point() else 1.0
        atol = 1e-5 * scale
        np.testing.assert_allclose(have, want.numpy().astype(have.dtype), rtol=1e-5, atol=atol)
    return package
