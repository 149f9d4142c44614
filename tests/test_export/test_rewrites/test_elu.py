"""ELU plus one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.export.rewrites import ELU_PLUS_ONE

from .support import noise, rewritten


class Positive(nn.Module):
    def __init__(self, alpha: float = 1.0, shift: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.shift = alpha, shift

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha) + self.shift


def test_it_becomes_relu_and_exp() -> None:
    places, program, found = rewritten(Positive(), ELU_PLUS_ONE, 20 * noise(4, 50))
    assert places == 1
    assert found == {"relu": 1, "sub": 1, "exp": 1, "add": 1}
    far = torch.full((4, 50), -700.0, dtype=torch.float64)
    assert (program.module()(far) > 0).all()  # where ELU + 1 has cancelled to zero


def test_an_elu_that_is_read_elsewhere_stays_too() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = F.elu(x)
            return y + 1, y

    places, _, found = rewritten(Both(), ELU_PLUS_ONE, noise(3, 4))
    assert places == 1
    assert found["elu"] == 1


@pytest.mark.parametrize(("alpha", "shift"), [(0.5, 1.0), (1.0, 2.0)])
def test_other_constants_stay(alpha: float, shift: float) -> None:
    assert rewritten(Positive(alpha, shift), ELU_PLUS_ONE, noise(3, 4))[0] == 0


def test_selu_and_bare_elu_stay() -> None:
    class Others(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.selu(x) + 1 + F.elu(x)

    assert rewritten(Others(), ELU_PLUS_ONE, noise(3, 4))[0] == 0
