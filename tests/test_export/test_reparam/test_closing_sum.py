"""A sum of a convolution and scaled maps becomes one convolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.reparam import closing_sum

from .support import apply, kinds, noise, reasons


class Closing(nn.Module):
    def __init__(self, bias: bool = True, hidden: int = 12, **options: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(4, hidden, 1)
        self.close = nn.Conv2d(hidden, 4, **({"kernel_size": 1} | options), bias=bias)  # type: ignore[arg-type]
        self.gamma = nn.Parameter(torch.ones(4, 1, 1))

    def total(self, y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
        return y + self.gamma * inner + x

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(x)
        return self.total(self.close(torch.relu(self.widen(inner))), inner, x)


@pytest.mark.parametrize("bias", [True, False])
def test_a_closing_sum(bias: bool) -> None:
    result = apply(closing_sum.FUSE, Closing(bias), noise(2, 4, 5, 7))
    assert result.places == 1
    assert kinds(result.model, nn.Conv2d) == 2
    sums = [n for n in result.model.graph.nodes if "add" in str(n.target) or "mul" in str(n.target)]
    assert sums == []


def test_plain_terms() -> None:
    class Plain(Closing):
        def total(self, y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
            return x + (inner + (torch.tanh(x) + y))

    assert apply(closing_sum.FUSE, Plain(), noise(1, 4, 6, 6)).places == 1


def test_blocks_in_a_row_are_closed_in_one_run() -> None:
    network = nn.Sequential(Closing(), Closing(), Closing())
    assert apply(closing_sum.FUSE, network, noise(1, 4, 6, 6)).places == 3


def test_two_operations_are_not_worth_it() -> None:
    class Residual(Closing):
        def total(self, y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
            return y + x

    result = apply(closing_sum.FUSE, Residual(), noise(1, 4, 6, 6))
    assert (result.places, result.left) == (0, ())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_size": 3, "padding": 1}, "no plain 1x1"),
        ({"groups": 2}, "no plain 1x1"),
        ({"hidden": 4}, "more than double"),
    ],
)
def test_other_convolutions_are_refused(options: dict[str, int], reason: str) -> None:
    result = apply(closing_sum.FUSE, Closing(**options), noise(1, 4, 6, 6))
    assert result.places == 0
    assert reason in reasons(result)


def _gate(y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
    return y + inner + x.mean((2, 3), keepdim=True) + x


def _per_position(y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
    return y + inner * torch.sigmoid(x) + x  # a product of two maps is one more map


def _twice(y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
    return y + inner + torch.tanh(x) + y.mean() * x


@pytest.mark.parametrize(
    ("total", "places", "reason"),
    [
        (_gate, 0, "not known to have one shape"),
        (_per_position, 1, ""),
        (_twice, 0, "0 convolutions of its own"),
    ],
)
def test_other_terms(total: object, places: int, reason: str) -> None:
    class Other(Closing):
        def total(self, y: Tensor, inner: Tensor, x: Tensor) -> Tensor:
            return total(y, inner, x)  # type: ignore[operator]

    result = apply(closing_sum.FUSE, Other(hidden=16), noise(1, 4, 6, 6))
    assert result.places == places
    assert reason in reasons(result)


def test_shared_weights_are_refused() -> None:
    class Shared(Closing):
        def forward(self, x: Tensor) -> Tensor:
            y = self.close(self.widen(x))
            return self.close(self.widen(y + self.gamma * torch.relu(x) + x))

    result = apply(closing_sum.FUSE, Shared(), noise(1, 4, 6, 6))
    assert result.places == 0
    assert "is called in 2 places" in reasons(result)
