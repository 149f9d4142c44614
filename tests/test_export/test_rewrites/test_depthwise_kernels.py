"""Large depthwise kernels in parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from care_mobile.export.rewrites import DEPTHWISE_KERNELS_IN_PARTS
from care_mobile.export.rewrites.depthwise_kernels import LARGEST

from .support import noise, rewritten


def depthwise(kernel: tuple[int, int], padding: tuple[int, int], **options: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(4, 4, kernel, padding=padding, groups=4, **options)  # type: ignore[arg-type]


def taps(program: torch.export.ExportedProgram) -> list[int]:
    found = [n.args[1] for n in program.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    return [weight.meta["val"].shape[2:].numel() for weight in found]


def test_a_7x7_kernel_is_three() -> None:
    conv = depthwise((7, 7), (3, 3))
    places, program, found = rewritten(conv, DEPTHWISE_KERNELS_IN_PARTS, noise(2, 4, 9, 12))
    assert places == 1
    assert taps(program) == [21, 14, 14]
    assert found == {"conv2d": 3, "add": 2}
    biases = [n.args[2] for n in program.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    assert [bias is None for bias in biases] == [False, True, True]


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    bias=st.booleans(),
)
def test_every_part_has_at_most_25_taps(
    kernel: tuple[int, int], stride: int, dilation: int, bias: bool
) -> None:
    padding = (kernel[0] // 2 * dilation, kernel[1] // 2 * dilation)
    conv = depthwise(kernel, padding, stride=stride, dilation=dilation, bias=bias)
    places, program, _ = rewritten(conv, DEPTHWISE_KERNELS_IN_PARTS, noise(1, 4, 26, 23))
    large = kernel[0] * kernel[1] > LARGEST
    assert places == large
    assert not large or (len(taps(program)) > 1 and max(taps(program)) <= LARGEST)
    assert sum(taps(program)) == kernel[0] * kernel[1]


@pytest.mark.parametrize(
    ("kernel", "padding"),
    [
        ((5, 5), (2, 2)),  # small enough
        ((7, 7), (0, 0)),  # parts would need negative padding
        ((13, 13), (6, 6)),  # a row pair is too large
    ],
)
def test_what_stays(kernel: tuple[int, int], padding: tuple[int, int]) -> None:
    conv = depthwise(kernel, padding)
    assert rewritten(conv, DEPTHWISE_KERNELS_IN_PARTS, noise(1, 4, 15, 15))[0] == 0


@pytest.mark.parametrize("groups", [1, 2])
def test_other_convolutions_stay(groups: int) -> None:
    conv = nn.Conv2d(4, 4, 7, padding=3, groups=groups)
    assert rewritten(conv, DEPTHWISE_KERNELS_IN_PARTS, noise(1, 4, 9, 9))[0] == 0


def test_the_channel_multiplier_stays() -> None:
    conv = nn.Conv2d(4, 8, 7, padding=3, groups=4)
    assert rewritten(conv, DEPTHWISE_KERNELS_IN_PARTS, noise(1, 4, 9, 9))[0] == 0


def test_one_kernel_used_twice() -> None:
    conv = depthwise((7, 7), (3, 3))
    twice = nn.Sequential(conv, nn.ReLU(), conv)
    assert rewritten(twice, DEPTHWISE_KERNELS_IN_PARTS, noise(1, 4, 8, 8))[0] == 2
