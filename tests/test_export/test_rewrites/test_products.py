"""Batched products and expansions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.rewrites import BATCHED_PRODUCTS, EXPANSIONS_LEFT_OUT

from .support import noise, rewritten


class Product(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x @ y


@pytest.mark.parametrize("batch", [(3,), (2, 3), (2, 3, 2)])
def test_a_product_has_one_batch_dimension(batch: tuple[int, ...]) -> None:
    x, y = noise(*batch, 4, 5), noise(*batch, 5, 6, seed=1)
    places, _, found = rewritten(Product(), BATCHED_PRODUCTS, x, y)
    assert places == 1
    assert found["bmm"] == 1
    assert "matmul" not in found


def test_a_transposed_factor() -> None:
    class Context(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.transpose(-1, -2) @ x

    assert rewritten(Context(), BATCHED_PRODUCTS, noise(2, 3, 4, 5))[0] == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 4, 5), (5, 6)), ((2, 3, 4, 5), (2, 1, 5, 6)), ((4, 5), (5, 6)), ((3, 4, 5), (5,))],
)
def test_products_that_broadcast_stay(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    assert rewritten(Product(), BATCHED_PRODUCTS, noise(*left), noise(*right, seed=1))[0] == 0


class Expanded(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.expand(3, 4) * y


def test_an_expansion_that_is_only_read_elementwise_goes() -> None:
    places, _, found = rewritten(Expanded(), EXPANSIONS_LEFT_OUT, noise(3, 1), noise(3, 4))
    assert (places, found) == (1, {"mul": 1})


def test_an_expansion_that_gives_the_result_its_shape_stays() -> None:
    assert rewritten(Expanded(), EXPANSIONS_LEFT_OUT, noise(3, 1), noise(3, 1))[0] == 0


def test_an_expansion_to_the_same_shape_goes() -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.expand(3, -1)).expand_as(x)

    places, _, found = rewritten(Same(), EXPANSIONS_LEFT_OUT, noise(3, 4))
    assert (places, found) == (2, {"relu": 1})


def test_an_expansion_that_others_read_stays() -> None:
    class Joined(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x.expand(3, 4), x.expand(3, 4)))

    assert rewritten(Joined(), EXPANSIONS_LEFT_OUT, noise(3, 1))[0] == 0
