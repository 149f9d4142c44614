"""Layers alone: the same layers, the same multiply-accumulates, nothing else."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_care
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parts import Alone, Layer, Part, layers
from care_mobile.models.care import CARE


@pytest.fixture(scope="module")
def network() -> CARE:
    return tiny_care().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def found(network: CARE) -> dict[Part, list[Layer]]:
    return layers(network, torch.zeros(1, 3, 64, 64))


def macs(model: nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return int(counter.get_total_flops()) // 2


def convolution_macs(network: nn.Module, depthwise: bool) -> int:
    """By hand: weights times positions, of all 1x1 or all depthwise convolutions."""
    total = 0

    def count(module: nn.Module, _: object, result: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        if (module.groups > 1) == depthwise and (depthwise or module.kernel_size == (1, 1)):
            total += module.weight.numel() * result.shape[-1] * result.shape[-2]

    handles = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)
    ]
    network(torch.zeros(1, 3, 64, 64))
    for handle in handles:
        handle.remove()
    return total


def test_the_bound_has_exactly_the_macs_of_the_1x1_convolutions_and_one_classifier(
    network: CARE, found: dict[Part, list[Layer]]
) -> None:
    alone = Alone(found[Part.POINTWISE])
    classifier = network.head.fc.weight.numel()
    expected = convolution_macs(network, depthwise=False) + classifier
    assert macs(alone, *alone.examples()) == expected


def test_depthwise_convolutions_alone(network: CARE, found: dict[Part, list[Layer]]) -> None:
    alone = Alone(found[Part.DEPTHWISE])
    assert macs(alone, *alone.examples()) == convolution_macs(network, depthwise=True)


def test_every_gelu_is_there(network: CARE, found: dict[Part, list[Layer]]) -> None:
    # Two per block; one more in the heads, which see the same features.
    blocks = sum(len(stage.blocks) for stage in network.stages)
    assert len(found[Part.GELU]) == 2 * blocks + 1


def test_all_layers_run_once_and_all_count(found: dict[Part, list[Layer]]) -> None:
    chosen = found[Part.POINTWISE]
    alone, calls = Alone(chosen), []
    for layer in alone.layers:
        layer.register_forward_hook(lambda m, i, o: calls.append((m, i[0].shape, o.shape)))
    results = alone(*alone.examples())
    assert [(m, tuple(i), tuple(o)) for m, i, o in calls] == [tuple(c) for c in chosen]
    read = len(chosen) - len(results)
    assert read > len(chosen) / 2, "most layers read another's result"


def test_a_result_is_read_where_shapes_fit() -> None:
    first, second, third = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
    narrow, wide = (1, 4, 5, 5), (1, 8, 5, 5)
    alone = Alone(
        [Layer(first, narrow, wide), Layer(second, wide, narrow), Layer(third, narrow, wide)]
    )
    x = torch.randn(narrow)
    (result,) = alone(x)
    assert alone.shapes == [narrow]
    torch.testing.assert_close(result, third(second(first(x))))
