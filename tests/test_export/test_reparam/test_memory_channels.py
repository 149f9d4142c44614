"""The memory joins the features early, and goes through their depthwise convolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.reparam import PassResult, memory_channels, trace
from care_mobile.export.reparam.trace import run

from .support import apply, lively, noise, reasons


class Carrier(nn.Module):
    """The part of a CARE block that matters, with one branch for all features."""

    def __init__(self, groups: int = 1, inner: int = 3) -> None:
        super().__init__()
        self.branch = nn.Conv2d(6, 6, 5, padding=2, groups=6)
        self.fc1 = nn.Conv2d(6, 12, 1, groups=groups)
        self.fc2 = nn.Conv2d(12, 6, inner, padding=inner // 2)

    def join(self, memory: Tensor, h: Tensor, features: Tensor) -> Tensor:
        return torch.cat((memory, h + features), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        memory, features = torch.split(x, [2, 6], dim=1)
        features = self.branch(features)
        return self.join(memory, self.fc2(torch.relu(self.fc1(features))), features)


def concatenations(result: PassResult) -> int:
    return sum(node.target is torch.cat for node in result.model.graph.nodes)


def splits(result: PassResult) -> int:
    return sum(node.target is torch.split for node in result.model.graph.nodes)


@pytest.mark.parametrize("inner", [1, 3])
def test_memory_joins_early(inner: int) -> None:
    result = apply(memory_channels.JOIN_EARLY, Carrier(inner=inner), noise(2, 8, 7, 9))
    convs = {n: m for n, m in result.model.named_modules() if isinstance(m, nn.Conv2d)}
    assert result.places == concatenations(result) == 1
    assert (convs["fc1"].in_channels, convs["fc2"].out_channels) == (8, 8)


def test_both_on_one_block() -> None:
    network = lively(Carrier())
    x = noise(2, 8, 7, 9)
    graph = trace(network, x)
    before = run(graph, x)
    early = memory_channels.JOIN_EARLY(graph)
    run(early.model, x)
    whole = memory_channels.THROUGH_DEPTHWISE(early.model)
    assert torch.allclose(run(whole.model, x), before, rtol=0, atol=1e-12)
    assert (whole.places, concatenations(whole), splits(whole)) == (1, 0, 0)
    assert memory_channels.THROUGH_DEPTHWISE(whole.model).places == 0


def test_grouped_readers_are_refused() -> None:
    result = apply(memory_channels.JOIN_EARLY, Carrier(groups=2), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "no convolution over all channels" in reasons(result)


def test_features_read_elsewhere_are_refused() -> None:
    class Twice(Carrier):
        def join(self, memory: Tensor, h: Tensor, features: Tensor) -> Tensor:
            return torch.cat((memory, h + features), dim=1) * features.mean()

    result = apply(memory_channels.JOIN_EARLY, Twice(), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "no convolution over all channels" in reasons(result)


def test_a_sum_read_elsewhere_is_refused() -> None:
    class Twice(Carrier):
        def join(self, memory: Tensor, h: Tensor, features: Tensor) -> Tensor:
            total = h + features
            return torch.cat((memory, total), dim=1) * total.mean()

    result = apply(memory_channels.JOIN_EARLY, Twice(), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "read elsewhere" in reasons(result)


def test_broadcast_sums_are_refused() -> None:
    class Gated(Carrier):
        def join(self, memory: Tensor, h: Tensor, features: Tensor) -> Tensor:
            return torch.cat(
                (memory, features + self.fc2(h.mean((2, 3), True).repeat(1, 2, 1, 1))), 1
            )

    result = apply(memory_channels.JOIN_EARLY, Gated(inner=1), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "not known to have one shape" in reasons(result)


def test_memory_that_comes_later_is_refused() -> None:
    class Late(Carrier):
        def join(self, memory: Tensor, h: Tensor, features: Tensor) -> Tensor:
            return super().join(memory * features.mean(), h, features)

    result = apply(memory_channels.JOIN_EARLY, Late(), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "is computed after" in reasons(result)


@pytest.mark.parametrize(
    ("options", "twice", "reason"),
    [
        ({"padding": 2}, True, "read elsewhere"),
        ({"padding": 4, "dilation": 2}, False, "does not keep the size"),
    ],
)
def test_depthwise_refusals(options: dict[str, int], twice: bool, reason: str) -> None:
    class Depthwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Conv2d(6, 6, 5, groups=6, **options)  # type: ignore[arg-type]

        def forward(self, x: Tensor) -> Tensor:
            memory, features = torch.split(x, [2, 6], dim=1)
            y = torch.cat((memory, self.branch(features)), dim=1)
            return y * memory.mean() if twice else y

    result = apply(memory_channels.THROUGH_DEPTHWISE, Depthwise(), noise(1, 8, 9, 9))
    assert result.places == 0
    assert reason in reasons(result)
