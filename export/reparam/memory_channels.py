"""The memory channels join the features once per block, at its beginning.

A CARE block concatenates twice: its branches to F, then the memory M and the first interaction's
result. The first interaction can carry the memory along untouched::

    W1 F = [0, W1] [M, F]          [M, W2 z + F] = [0; W2] z + [M, F]

and so can a depthwise convolution of the features, whose kernel for the memory is the identity::

    [M, K * f] = [1, K] * [M, f]

One concatenation less (both, and the split, where all features go through one convolution); more
multiplications, by zeros and ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from .base import ADD, NetworkEditor, Pass, binary, concatenated, only_user, set_bias
from .channel_groups import group_of, join
from .depthwise import bias_of, identity_kernel, stacked, why_not_depthwise


def _join_early(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        parts = concatenated(node)
        if len(parts) != 2:
            continue
        memory, total = parts
        addends = binary(total, ADD) or ()
        for h, features in (addends, addends[::-1]) if addends else ():
            if isinstance(features, fx.Node) and network.module(h, nn.Conv2d) is not None:
                assert isinstance(h, fx.Node)
                _carry(network, node, memory, total, h, features)
                break


def _carry(
    network: NetworkEditor,
    node: fx.Node,
    memory: fx.Node,
    total: fx.Node,
    h: fx.Node,
    features: fx.Node,
) -> None:
    readers = [user for user in features.users if user is not total]
    reason = _why_not(network, memory, total, h, features, readers)
    shape = network.shape(memory)
    if reason or shape is None:
        network.leave(node, reason or "the shape of the memory is not known")
        return
    if not network.claim(node):
        return
    _widen_output(network.module(h, nn.Conv2d), shape[1])
    for reader in readers:
        _widen_input(network.module(reader, nn.Conv2d), shape[1])
    with network.graph.inserting_after(features):
        parts = concatenated(features) or [features]
        joined = network.graph.call_function(torch.cat, ([memory, *parts],), {"dim": 1})
    with network.graph.inserting_before(node):
        result = network.graph.call_function(torch.add, (h, joined))
    network.replace(node, result)
    for reader in readers:
        reader.replace_input_with(features, joined)


def _why_not(
    network: NetworkEditor,
    memory: fx.Node,
    total: fx.Node,
    h: fx.Node,
    features: fx.Node,
    readers: list[fx.Node],
) -> str | None:
    shapes = [network.shape(n) for n in (memory, h, features)]
    if any(shape is None or len(shape) != 4 for shape in shapes) or shapes[1] != shapes[2]:
        return f"{h.name} and {features.name} are not known to have one shape"
    if only_user(total) is None or only_user(h) is None:
        return f"{total.name} or {h.name} is read elsewhere too"
    if not readers:
        return f"no convolution reads {features.name}"
    order = list(network.graph.nodes)
    if order.index(memory) > order.index(features):
        return f"{memory.name} is computed after {features.name}"
    reasons = (_why_not_widened(network, reader) for reader in (h, *readers))
    return next((reason for reason in reasons if reason), None)


def _why_not_widened(network: NetworkEditor, node: fx.Node) -> str | None:
    conv = network.module(node, nn.Conv2d)
    if conv is None or conv.groups != 1:
        return f"{node.name} is no convolution over all channels"
    return network.why_shared(node)


@torch.no_grad()
def _widen_input(conv: nn.Conv2d | None, channels: int) -> None:
    """Let `conv` read `channels` more, in front, and ignore them."""
    assert conv is not None
    conv.weight = _frozen(torch.cat((_zeros(conv.weight, 1, channels), conv.weight), dim=1))
    conv.in_channels += channels


@torch.no_grad()
def _widen_output(conv: nn.Conv2d | None, channels: int) -> None:
    """Let `conv` yield `channels` more, in front, all zero."""
    assert conv is not None
    conv.weight = _frozen(torch.cat((_zeros(conv.weight, 0, channels), conv.weight)))
    if conv.bias is not None:
        set_bias(conv, torch.cat((conv.bias.new_zeros(channels), conv.bias)))
    conv.out_channels += channels


def _zeros(weight: Tensor, dim: int, size: int) -> Tensor:
    shape = list(weight.shape)
    shape[dim] = size
    return weight.new_zeros(shape)


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)


def _through_depthwise(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        parts = concatenated(node)
        if len(parts) != 2:
            continue
        memory, conv = group_of(parts[0]), network.module(parts[1], nn.Conv2d)
        features = group_of(parts[1].args[0]) if conv is not None else None
        if memory is None or features is None or conv is None or not memory.precedes(features):
            continue
        reason = why_not_depthwise(network, parts[1]) or (
            "a group is read elsewhere too"
            if only_user(memory.node) is None or only_user(features.node) is None
            else None
        )
        if reason:
            network.leave(node, reason)
            continue
        if not network.claim(node):
            continue
        kernel = identity_kernel(memory.channels, _size(conv), conv.weight)
        bias = bias_of(conv)
        whole = stacked([kernel, conv.weight.detach()], [bias.new_zeros(memory.channels), bias])
        name = network.add_module(parts[1], "carrying", whole)
        source = join(network, [memory, features])
        with network.graph.inserting_before(node):
            replacement = network.graph.call_module(name, (source,))
        network.replace(node, replacement)
        network.graph.eliminate_dead_code()


def _size(conv: nn.Conv2d) -> tuple[int, int]:
    height, width = conv.kernel_size
    return height, width


JOIN_EARLY = Pass(
    "join-memory-early",
    "the memory joins the branches before the first interaction, which carries it along",
    _join_early,
)
THROUGH_DEPTHWISE = Pass(
    "carry-memory-through-depthwise",
    "the memory goes through the features' depthwise convolution with an identity kernel",
    _through_depthwise,
)
