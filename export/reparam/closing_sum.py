"""A sum that closes a block into the convolution in it.

With factors g_i per channel (one where a term is plain), a 1x1 convolution and maps of one shape::

    W * h + b + g_1 G + g_2 x  =  [W, diag(g_1), diag(g_2)] * [h, G, x] + b

One concatenation and one convolution instead of a convolution, two additions and a product, summed
in the convolution's accumulator rather than rounded term by term; more multiplications, most of
them by zero, so only where they do not more than double the convolution's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from .base import ADD, MUL, SHAPE, NetworkEditor, Pass, binary, only_user


@dataclass(frozen=True)
class _Term:
    """factor * value; `factor` is (channels,)."""

    value: fx.Node
    factor: Tensor


def _rewrite(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        user = only_user(node)
        if binary(node, ADD) and not (user is not None and binary(user, ADD)):
            _close(network, node)


def _close(network: NetworkEditor, node: fx.Node) -> None:
    addends = _addends(node)
    products = sum(binary(a, MUL) is not None for a in addends)
    if len(addends) - 1 + products < 3:
        return  # the convolution and the concatenation would replace as many operations
    convs = [a for a in addends if network.module(a, nn.Conv2d) is not None and only_user(a)]
    if len(convs) != 1:
        network.leave(node, f"{len(convs)} convolutions of its own are among its terms")
        return
    conv = network.module(convs[0], nn.Conv2d)
    assert conv is not None
    terms = [_term(network, a, conv.out_channels) for a in addends if a is not convs[0]]
    reason = _why_not(network, convs[0], conv, [network.shape(a) for a in addends])
    if not reason and len(terms) * conv.out_channels > conv.in_channels:
        reason = f"{convs[0].target} would more than double its multiplications"
    if reason or any(term is None for term in terms):
        network.leave(node, reason or "a term is scaled by more than a factor per channel")
        return
    if network.claim(node):
        _fuse(network, node, convs[0], conv, [term for term in terms if term is not None])


def _addends(node: fx.Node) -> list[fx.Node]:
    """The terms of a sum, through sums nobody else reads."""
    found: list[fx.Node] = []
    for operand in binary(node, ADD) or ():
        if not isinstance(operand, fx.Node):
            continue
        inner = binary(operand, ADD) and only_user(operand) is not None
        found += _addends(operand) if inner else [operand]
    return found


def _term(network: NetworkEditor, node: fx.Node, channels: int) -> _Term | None:
    """`node` as a scaled map; None if it is scaled by anything but a factor per channel."""
    one = torch.ones(channels, dtype=torch.float64)
    operands = binary(node, MUL)
    if operands is None or only_user(node) is None:
        return _Term(node, one)
    for value, factor in (operands, operands[::-1]):
        scale = network.per_channel(factor, channels)
        if scale is not None and isinstance(value, fx.Node):
            return _Term(value, scale)
    return _Term(node, one)


def _why_not(
    network: NetworkEditor, node: fx.Node, conv: nn.Conv2d, shapes: list[tuple[int, ...] | None]
) -> str | None:
    if {*conv.kernel_size, *conv.stride, conv.groups} != {1} or conv.padding not in ((0, 0), 0):
        return f"{node.target} is no plain 1x1 convolution"
    if len(set(shapes)) != 1 or shapes[0] is None or len(shapes[0]) != 4:
        return "its terms are not known to have one shape"
    return network.why_shared(node)


@torch.no_grad()
def _fuse(
    network: NetworkEditor, node: fx.Node, closing: fx.Node, conv: nn.Conv2d, terms: list[_Term]
) -> None:
    weight = conv.weight
    diagonals = [torch.diag(term.factor.to(weight))[:, :, None, None] for term in terms]
    wide = torch.cat([weight, *diagonals], dim=1)
    fused = nn.Conv2d(wide.shape[1], wide.shape[0], 1, bias=conv.bias is not None)
    fused.weight = nn.Parameter(wide, requires_grad=False)
    if conv.bias is not None:
        fused.bias = nn.Parameter(conv.bias.clone(), requires_grad=False)
    name = network.add_module(closing, "closing", fused.eval())
    parts = [closing.args[0], *(term.value for term in terms)]
    with network.graph.inserting_before(node):
        joined = network.graph.call_function(torch.cat, (parts,), {"dim": 1})
        replacement = network.graph.call_module(name, (joined,))
    # The next block adds this very value: its sum is looked at later in the same run.
    replacement.meta[SHAPE] = network.shape(node)
    network.replace(node, replacement)


FUSE = Pass(
    "closing-sum-into-conv",
    "a convolution takes in the scaled maps that are added to its result",
    _rewrite,
)
