"""Where coremltools 9 changes results when it converts through torch.export: found by running it.

When one of these fails, coremltools was mended and what we do about it can go.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from converted import converted, eager, picture
from torch import Tensor, nn

from care_mobile.runtimes.interpreter import Interpreter, Numerics

IMAGE = picture(16, 16)


def relative_error(network: nn.Module, folder: Path) -> float:
    package = converted(network, IMAGE, folder)
    output = Interpreter(package, Numerics.EXACT).run({"image": IMAGE})["output"]
    reference = eager(network, IMAGE)
    return float(np.abs(output - reference).max() / np.abs(reference).max())


def test_the_tanh_form_of_gelu_becomes_the_exact_one(tmp_path: Path) -> None:
    assert 1e-5 < relative_error(nn.GELU(approximate="tanh"), tmp_path) < 1e-3


def test_a_reciprocal_gets_an_epsilon(tmp_path: Path) -> None:
    class Reciprocal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.reciprocal(0.1 + x * x)

    assert 1e-4 < relative_error(Reciprocal(), tmp_path) < 1e-2


def test_a_scale_and_shift_per_channel_becomes_a_batch_norm_with_an_epsilon(tmp_path: Path) -> None:
    class Affine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([0.5, 1.0, 2.0])[:, None, None])
            self.bias = nn.Parameter(torch.tensor([0.1, 0.2, 0.3])[:, None, None])

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight + self.bias

    assert 2e-6 < relative_error(Affine().requires_grad_(False), tmp_path) < 1e-5
