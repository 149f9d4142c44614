"""The optional equivalences on the branches of a CARE block."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_care
from torch import Tensor, nn

from care_mobile.export.reparam import layer_scale, local_branches, memory_residual
from care_mobile.models.care import LinearAttention

from .support import apply, lively, noise, reasons


def test_local_branches_of_care() -> None:
    result = apply(local_branches.MERGE, tiny_care(), noise(1, 3, 64, 96))
    kernels = [
        tuple(m.kernel_size)
        for name, m in result.model.named_modules()
        if isinstance(m, nn.Conv2d) and ("joined" in name or "merged" in name)
    ]
    # Stages 1 and 2: the cross and both squares are one 11x11; 3 and 4: the squares one 7x7.
    assert kernels.count((11, 11)) == 3
    assert kernels.count((7, 7)) == 3
    names = dict(result.model.named_modules())
    assert not any("dwconv" in name and "joined" not in name for name in names)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kernel_size": 3, "padding": 0}, "does not keep the size"),
        ({"kernel_size": 4, "padding": 2}, "does not keep the size"),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, "does not keep the size"),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, "pads with other than zeros"),
        ({"kernel_size": 3, "padding": 1, "groups": 1}, "not depthwise"),
    ],
)
def test_other_convolutions_are_refused(change: dict[str, object], reason: str) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(4, 4, **({"groups": 4} | change))  # type: ignore[arg-type]
            self.two = nn.Conv2d(4, 4, **({"groups": 4} | change))  # type: ignore[arg-type]

        def forward(self, x: Tensor) -> Tensor:
            a, b = torch.split(x, [4, 4], dim=1)
            return torch.cat((self.one(a), self.two(b)), dim=1)

    result = apply(local_branches.MERGE, Pair(), noise(1, 8, 9, 9))
    assert result.places == 0
    assert reason in reasons(result)


def test_groups_that_are_not_neighbours_stay_apart() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(4, 4, 3, padding=1, groups=4)
            self.two = nn.Conv2d(4, 4, 3, padding=1, groups=4)

        def forward(self, x: Tensor) -> Tensor:
            a, b = torch.split(x, [4, 4], dim=1)
            return torch.cat((self.one(b), self.two(a)), dim=1)

    assert apply(local_branches.MERGE, Crossed(), noise(1, 8, 9, 9)).places == 0


def test_memory_residuals_of_care() -> None:
    network = lively(tiny_care())
    from care_mobile.export.reparam import trace

    x = noise(1, 3, 64, 96)
    scaled = layer_scale.FOLD(trace(network, x))
    result = memory_residual.MERGE(scaled.model)
    assert scaled.places == result.places == 5  # every block but the last
    assert torch.allclose(network(x), result.model(x), rtol=0, atol=1e-12)
    assert memory_residual.MERGE(result.model).places == 0
    assert any(isinstance(m, LinearAttention) for m in result.model.modules())
