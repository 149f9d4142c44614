"""Layer scale, depthwise bias, heads, attention, input normalisation: one place each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.equivalence import TOLERANCE, relative_error
from care_mobile.export.reparam import (
    classifier_heads,
    depthwise_bias,
    input_normalization,
    layer_scale,
    linear_attention,
    trace,
)
from care_mobile.models.care import LinearAttention

from .support import apply, kinds, lively, noise, reasons


class Scaled(nn.Module):
    def __init__(self, shape: tuple[int, ...], residual: bool, flipped: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.gamma = nn.Parameter(torch.full(shape, 1e-6))
        self.residual, self.flipped = residual, flipped
        self.vector = shape == (4,)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = x + y if self.residual else y
        gamma = self.gamma[:, None, None] if self.vector else self.gamma
        return (y * gamma if self.flipped else gamma * y) + x


@pytest.mark.parametrize("shape", [(4,), (4, 1, 1), (1, 4, 1, 1), (1,)])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("flipped", [True, False])
def test_layer_scale(shape: tuple[int, ...], residual: bool, flipped: bool) -> None:
    result = apply(layer_scale.FOLD, Scaled(shape, residual, flipped), noise(2, 4, 6, 5))
    assert result.places == 1
    products = sum("mul" in str(node.target) for node in result.model.graph.nodes)
    assert products == int(residual)


def test_layer_scale_per_position_is_refused() -> None:
    result = apply(layer_scale.FOLD, Scaled((1, 4, 6, 5), False), noise(2, 4, 6, 5))
    assert result.places == 0
    assert "not one per channel" in reasons(result)


def test_layer_scale_on_a_shared_value_is_refused() -> None:
    class Shared(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.gamma[:, None, None] * y + y

    result = apply(layer_scale.FOLD, Shared((4,), False), noise(2, 4, 6, 5))
    assert result.places == 0
    assert "read elsewhere" in reasons(result)


def test_layer_scale_chain_is_folded_in_one_run() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.gamma = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.gamma * (self.one(x) + self.two(torch.relu(x)))

    result = apply(layer_scale.FOLD, Chain(), noise(1, 4, 5, 5))
    assert result.places == 2
    assert not any("mul" in str(node.target) for node in result.model.graph.nodes)


def test_depthwise_bias() -> None:
    network = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 4, 1, bias=False))
    result = apply(depthwise_bias.FOLD, network, noise(2, 6, 7, 5))
    assert result.places == 1
    convs = [m for m in result.model.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.bias is None for conv in convs] == [True, False]


@pytest.mark.parametrize(
    ("following", "reason"),
    [
        (nn.Conv2d(6, 4, 3, padding=1), "pads with zeros"),
        (nn.ReLU(), "not read by one convolution alone"),
    ],
)
def test_depthwise_bias_refusals(following: nn.Module, reason: str) -> None:
    network = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), following)
    result = apply(depthwise_bias.FOLD, network, noise(2, 6, 7, 5))
    assert result.places == 0
    assert reason in reasons(result)


def test_depthwise_bias_leaves_full_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 4, 1))
    result = apply(depthwise_bias.FOLD, network, noise(2, 6, 7, 5))
    assert (result.places, result.left) == (0, ())


class TwoHeads(nn.Module):
    def __init__(self, affine: bool = True, norm: bool = True, dropout: bool = True) -> None:
        super().__init__()

        def head() -> nn.Module:
            layers: list[nn.Module] = [nn.LayerNorm(6, elementwise_affine=affine)] if norm else []
            layers += [nn.Dropout(0.1)] if dropout else []
            return nn.Sequential(*layers, nn.Linear(6, 5))

        self.one, self.two = head(), head()

    def features(self, x: Tensor, head: int) -> Tensor:
        return nn.functional.gelu(x.mean((2, 3)))

    def combine(self, one: Tensor, two: Tensor) -> Tensor:
        return (one + two) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.combine(self.one(self.features(x, 0)), self.two(self.features(x, 1)))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_heads_merge(affine: bool, norm: bool, dropout: bool) -> None:
    result = apply(classifier_heads.MERGE, TwoHeads(affine, norm, dropout), noise(2, 6, 4, 4))
    assert result.places == 1
    assert kinds(result.model, nn.Linear) == 1
    assert kinds(result.model, nn.LayerNorm) == int(norm)


@pytest.mark.parametrize("combine", [lambda a, b: a + b, lambda a, b: (a + b) * 0.25])
def test_heads_with_other_factors(combine: object) -> None:
    class Other(TwoHeads):
        def combine(self, one: Tensor, two: Tensor) -> Tensor:
            return combine(one, two)  # type: ignore[operator]

    assert apply(classifier_heads.MERGE, Other(), noise(2, 6, 4, 4)).places == 1


def test_heads_on_different_features_are_refused() -> None:
    class Different(TwoHeads):
        def features(self, x: Tensor, head: int) -> Tensor:
            return x.amax((2, 3)) if head else x.mean((2, 3))

    result = apply(classifier_heads.MERGE, Different(), noise(2, 6, 4, 4))
    assert result.places == 0
    assert "do not read the same features" in reasons(result)


def test_heads_with_different_epsilons_are_refused() -> None:
    network = TwoHeads()
    network.one[0].eps = 1e-3
    assert apply(classifier_heads.MERGE, network, noise(2, 6, 4, 4)).places == 0


def test_a_head_read_elsewhere_is_refused() -> None:
    class Both(TwoHeads):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            one = self.one(self.features(x, 0))
            return (one + self.two(self.features(x, 1))) / 2, one

    result = apply(classifier_heads.MERGE, Both(), noise(2, 6, 4, 4))
    assert result.places == 0
    assert "read elsewhere" in reasons(result)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 7)])
def test_channel_first_attention(heads: int, size: tuple[int, int]) -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qk = nn.Conv2d(8, 16, 1)
            self.attention = LinearAttention(heads)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(self.qk(x), x)

    result = apply(linear_attention.CHANNEL_FIRST, Mixer(), 3 * noise(3, 8, *size))
    assert result.places == 1
    assert kinds(result.model, LinearAttention) == 0
    exported = torch.export.export(result.model, (noise(1, 8, *size),))
    targets = [str(node.target) for node in exported.graph.nodes]
    assert sum("permute" in t for t in targets) == 0
    assert sum("transpose" in t for t in targets) == 1  # the flag of one product
    assert not any("elu.default" in t and "relu" not in t for t in targets)


@pytest.mark.parametrize("unit", [1.0, 255.0])
def test_input_normalization_folds_into_an_unpadded_stem(unit: float) -> None:
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ReLU()))
    graph = trace(network, noise(1, 3, 16, 12))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).double(), torch.tensor([0.2, 0.3, 0.25]).double()
    input_normalization.prepend(graph, (1 / (unit * std)).tolist(), (-mean / std).tolist())
    result = input_normalization.FOLD(graph)
    u = unit * torch.rand(2, 3, 16, 12, dtype=torch.float64)
    x = (u / unit - mean[:, None, None]) / std[:, None, None]
    assert result.places == 1
    assert kinds(result.model, input_normalization.InputNormalization) == 0
    assert relative_error([network(x)], [result.model(u)]) <= TOLERANCE
    assert input_normalization.FOLD(result.model).places == 0


def test_input_normalization_stays_before_a_padded_stem() -> None:
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)))
    graph = trace(network, noise(1, 3, 8, 8))
    input_normalization.prepend(graph, [0.1] * 3, [-2.0] * 3)
    result = input_normalization.FOLD(graph)
    u = noise(1, 3, 8, 8)
    assert result.places == 0
    assert "pads with zeros" in reasons(result)
    assert relative_error([network(0.1 * u - 2.0)], [result.model(u)]) <= TOLERANCE
