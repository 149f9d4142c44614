"""Means in the one form XNNPACK takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.rewrites import MEANS_OVER_MAPS

from .support import noise, rewritten


class Mean(nn.Module):
    def __init__(self, dims: list[int], keepdim: bool) -> None:
        super().__init__()
        self.dims, self.keepdim = dims, keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dims, keepdim=self.keepdim)


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((2, 3, 4, 5), [1]),
        ((2, 3, 4, 5), [-2]),
        ((2, 3, 4, 5), [0, 2]),
        ((2, 3, 4, 5), [3, 2, 1, 0]),
        ((2, 3, 4), [-1]),
        ((2, 3, 4), [1]),
        ((7, 5), [1]),
        ((7,), [0]),
        ((2, 3, 2, 3, 2), [1, 4]),
    ],
)
def test_every_mean_is_one_over_a_map(
    shape: tuple[int, ...], dims: list[int], keepdim: bool
) -> None:
    places, program, _ = rewritten(Mean(dims, keepdim), MEANS_OVER_MAPS, noise(*shape))
    assert places == 1
    (mean,) = [n for n in program.graph.nodes if n.target is torch.ops.aten.mean.dim]
    assert mean.args[0].meta["val"].dim() == 4
    assert mean.args[1:] == ([2, 3], True)


def test_a_map_is_not_reshaped_before_its_mean() -> None:
    places, program, found = rewritten(Mean([-1, -2], False), MEANS_OVER_MAPS, noise(2, 3, 4, 5))
    assert places == 1
    assert found == {"mean": 1, "reshape": 1}
    (mean,) = [n for n in program.graph.nodes if n.target is torch.ops.aten.mean.dim]
    assert mean.args[0].op == "placeholder"


def test_the_form_xnnpack_takes_stays() -> None:
    assert rewritten(Mean([2, 3], True), MEANS_OVER_MAPS, noise(2, 3, 4, 5))[0] == 0
    assert rewritten(Mean([-1, -2], True), MEANS_OVER_MAPS, noise(2, 3, 4, 5))[0] == 0


def test_a_mean_that_changes_the_type_stays() -> None:
    class Widened(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float().mean(1, dtype=torch.float64)

    assert rewritten(Widened(), MEANS_OVER_MAPS, noise(2, 3))[0] == 0
