"""Layer normalisation written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from care_mobile.export.rewrites import LAYER_NORMS_WRITTEN_OUT, MEANS_OVER_MAPS, apply

from .support import noise, rewritten


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("shape", "normalized"), [((3, 8), [8]), ((2, 5, 8), [8]), ((2, 3, 4, 5), [4, 5]), ((6,), [6])]
)
def test_it_is_gone(shape: tuple[int, ...], normalized: list[int], affine: bool) -> None:
    norm = nn.LayerNorm(normalized, eps=1e-3, elementwise_affine=affine)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = 3 + 0.1 * noise(*shape)
    places, program, found = rewritten(norm, LAYER_NORMS_WRITTEN_OUT, x)
    assert places == 1
    assert "layer_norm" not in found
    assert found["mul"] == 2 + affine
    assert apply(program, [MEANS_OVER_MAPS]) == {"means-over-maps": 0}


def test_weight_without_bias() -> None:
    norm = nn.LayerNorm(4, bias=False)
    nn.init.normal_(norm.weight)
    assert rewritten(norm, LAYER_NORMS_WRITTEN_OUT, noise(2, 4))[0] == 1


def test_the_usual_epsilon_is_added_where_none_is_named() -> None:
    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.aten.layer_norm.default(1e-3 * x, [4])

    assert rewritten(Bare(), LAYER_NORMS_WRITTEN_OUT, noise(2, 4))[0] == 1


def test_other_norms_stay() -> None:
    norm = nn.Sequential(nn.GroupNorm(2, 4), nn.BatchNorm2d(4))
    assert rewritten(norm, LAYER_NORMS_WRITTEN_OUT, noise(1, 4, 3, 3))[0] == 0
