from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.rewrites import MEMORY_FORMATS_LEFT_OUT

from .support import noise, rewritten

LAST = torch.channels_last


class Net(nn.Module):
    def __init__(self, forward: Callable[[nn.Conv2d, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.made = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.made(self.conv, x)


@pytest.mark.parametrize(
    ("forward", "places"),
    [
        (lambda conv, x: conv(x), 0),
        (lambda conv, x: conv(x).clone().contiguous(), 0),
        (lambda conv, x: conv(x).contiguous(memory_format=LAST), 1),
        (lambda conv, x: conv(x.clone(memory_format=LAST)), 1),
        (lambda conv, x: conv(x.to(memory_format=LAST)).relu(), 1),
        # A view that only this layout allows.
        (lambda conv, x: conv(x.clone(memory_format=LAST)).permute(0, 2, 3, 1).view(2, -1, 4), 1),
    ],
)
def test_copies_keep_the_layout_they_find(
    forward: Callable[[nn.Conv2d, Tensor], Tensor], places: int
) -> None:
    found, program, _ = rewritten(Net(forward), MEMORY_FORMATS_LEFT_OUT, noise(2, 3, 6, 8))
    assert found == places
    values = [n.meta.get("val") for n in program.graph.nodes]
    maps = [value for value in values if isinstance(value, Tensor) and value.shape[-2:] == (6, 8)]
    assert maps
    assert all(value.is_contiguous() for value in maps)


def test_weights_in_another_layout() -> None:
    network = Net(lambda conv, x: conv(x)).to(memory_format=LAST)
    found, program, _ = rewritten(network, MEMORY_FORMATS_LEFT_OUT, noise(2, 3, 6, 8))
    assert found == 1
    assert all(tensor.is_contiguous() for tensor in program.state_dict.values())


def test_constants_that_are_views_of_others() -> None:
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = torch.rand(5, 3, dtype=torch.float64).t()
            self.register_buffer("row", torch.rand(1, 3, dtype=torch.float64).expand(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return (x + self.row) @ self.matrix

    found, _, _ = rewritten(Transposed(), MEMORY_FORMATS_LEFT_OUT, noise(4, 3))
    assert found == 2
