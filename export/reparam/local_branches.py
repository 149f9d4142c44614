"""Local branches as fewer depthwise convolutions. Off by default: whether it pays depends on the
target, since it trades operations for multiplications.

Depthwise convolutions of the same input add up to one with the sum of their kernels, smaller ones
embedded in the middle of the larger (`e`)::

    K1 * x + K2 * x = (e(K1) + e(K2)) * x

so 11x1 plus 1x11 is one cross-shaped 11x11. Depthwise convolutions of neighbouring groups of the
channels, concatenated, are one over both groups::

    [K1 * x_i, K2 * x_(i+1)] = [e(K1), e(K2)] * [x_i, x_(i+1)]

which needs neither the split nor the concatenation. Odd kernels with "same" zero padding only.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .base import ADD, Network, Pass, binary, concatenated, only_user


def _rewrite(network: Network) -> None:
    for node in list(network.graph.nodes):
        addends = binary(node, ADD)
        if addends and all(network.module(a, nn.Conv2d) is not None for a in addends):
            _add_kernels(network, node, *addends)
    for node in list(network.graph.nodes):
        if concatenated(node):
            _join_groups(network, node)


def _why_not(network: Network, node: fx.Node) -> str | None:
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


def _add_kernels(network: Network, total: fx.Node, *addends: object) -> None:
    first, second = addends
    assert isinstance(first, fx.Node) and isinstance(second, fx.Node)
    if first.args[0] is not second.args[0] or _why_not(network, first) or _why_not(network, second):
        return
    one, two = network.module(first, nn.Conv2d), network.module(second, nn.Conv2d)
    assert one is not None and two is not None
    size = _common_size([one, two])
    weight = _embedded(one.weight, size) + _embedded(two.weight, size)
    merged = _depthwise(weight, _bias(one) + _bias(two))
    name = network.add_module(first, "merged", merged)
    with network.graph.inserting_before(total):
        replacement = network.graph.call_module(name, (first.args[0],))
    network.replace(total, replacement)
    network.changed()


@dataclass(frozen=True)
class _Group:
    """A concatenated part that is a depthwise convolution of group `index` of a split."""

    node: fx.Node
    conv: nn.Conv2d
    source: fx.Node
    sizes: tuple[int, ...]
    index: int


def _join_groups(network: Network, node: fx.Node) -> None:
    parts = concatenated(node)
    joined: list[fx.Node] = []
    run: list[_Group] = []
    places = 0

    def close() -> None:
        nonlocal places
        if len(run) > 1:
            joined.append(_join(network, node, run))
            places += 1
        else:
            joined.extend(group.node for group in run)
        run.clear()

    for part in parts:
        group = _group(network, part)
        if (
            group
            and run
            and not (group.source is run[-1].source and group.index == run[-1].index + 1)
        ):
            close()
        if group:
            run.append(group)
        else:
            close()
            joined.append(part)
    close()
    if not places:
        return
    if len(joined) == 1:
        network.replace(node, joined[0])
    else:
        node.args = (joined, *node.args[1:])
    network.changed()


def _group(network: Network, part: fx.Node) -> _Group | None:
    conv = network.module(part, nn.Conv2d)
    if conv is None:
        return None
    reason = _why_not(network, part)
    source = part.args[0]
    if reason or not isinstance(source, fx.Node) or source.target is not operator.getitem:
        network.leave(part, reason or "its input is no group of a split")
        return None
    split, index = source.args
    if not isinstance(split, fx.Node) or split.target is not torch.split:
        return None
    sizes = split.args[1]
    if (
        not isinstance(sizes, list | tuple)
        or not isinstance(index, int)
        or split.kwargs != {"dim": 1}
    ):
        return None
    return _Group(part, conv, split, tuple(cast("list[int]", sizes)), index)


def _join(network: Network, before: fx.Node, run: list[_Group]) -> fx.Node:
    size = _common_size([group.conv for group in run])
    weight = torch.cat([_embedded(group.conv.weight, size) for group in run])
    merged = _depthwise(weight, torch.cat([_bias(group.conv) for group in run]))
    name = network.add_module(run[0].node, "joined", merged)
    start = sum(run[0].sizes[: run[0].index])
    width = weight.shape[0]
    with network.graph.inserting_before(before):
        call = network.graph.call_function
        groups = call(torch.narrow, (run[0].source.args[0], 1, start, width))
        return network.graph.call_module(name, (groups,))


def _common_size(convs: list[nn.Conv2d]) -> tuple[int, int]:
    return max(c.kernel_size[0] for c in convs), max(c.kernel_size[1] for c in convs)


def _embedded(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """A kernel in the middle of a larger one of zeros."""
    rows, columns = (want - have for want, have in zip(size, weight.shape[2:], strict=True))
    return F.pad(weight.detach(), (columns // 2, columns // 2, rows // 2, rows // 2))


def _bias(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach()


def _depthwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
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


MERGE = Pass(
    "merge-local-branches",
    "depthwise branches of one input become fewer, larger depthwise convolutions",
    _rewrite,
)
