"""Depthwise convolutions that keep the size of the map: reading them, building larger ones."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .base import NetworkEditor, only_user


def why_not_depthwise(network: NetworkEditor, node: fx.Node) -> str | None:
    """Why `node` is no depthwise convolution with odd kernel, "same" zero padding, one reader."""
    conv = network.module(node, nn.Conv2d)
    if conv is None or conv.groups == 1 or conv.groups != conv.in_channels:
        return f"{node.target} is not depthwise"
    if conv.groups != conv.out_channels:
        return f"{node.target} has more outputs than inputs"
    same = tuple(size // 2 for size in conv.kernel_size)
    if any(size % 2 == 0 for size in conv.kernel_size) or conv.padding not in (same, "same"):
        return f"{node.target} does not keep the size by symmetric padding"
    if conv.padding_mode != "zeros" or {*conv.stride, *conv.dilation} != {1}:
        return f"{node.target} is strided, dilated or pads with other than zeros"
    if only_user(node) is None:
        return f"{node.target} is read elsewhere too"
    return None


def embedded(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """A kernel in the middle of a larger one of zeros."""
    rows, columns = (want - have for want, have in zip(size, weight.shape[2:], strict=True))
    return F.pad(weight.detach(), (columns // 2, columns // 2, rows // 2, rows // 2))


def common_size(convs: list[nn.Conv2d]) -> tuple[int, int]:
    """The smallest kernel size that holds every kernel."""
    return max(c.kernel_size[0] for c in convs), max(c.kernel_size[1] for c in convs)


def bias_of(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def identity_kernel(channels: int, size: tuple[int, int], like: Tensor) -> Tensor:
    """The depthwise kernel (channels, 1, *size) that changes nothing: one in the middle."""
    return embedded(like.new_ones(channels, 1, 1, 1), size)


def depthwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A depthwise convolution with these parameters that keeps the size."""
    channels, _, height, width = weight.shape
    conv = nn.Conv2d(
        channels,
        channels,
        (height, width),
        padding=(height // 2, width // 2),
        groups=channels,
        dtype=weight.dtype,
    )
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    return conv.eval()


def stacked(kernels: list[Tensor], biases: list[Tensor]) -> nn.Conv2d:
    """One depthwise convolution over groups of channels side by side, all kernels of one size."""
    return depthwise(torch.cat(kernels), torch.cat(biases))
