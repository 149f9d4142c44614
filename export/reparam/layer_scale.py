"""Layer scale into the convolution it scales.

With a per-channel factor g::

    g (W * x + b)      = (g W) * x + g b
    g (W * x + b + R)  = (g W) * x + g b + g R

so that what remains of it multiplies the residual R only.
"""

from __future__ import annotations

import torch
from torch import fx

from .affine import fold_backward
from .base import ADD, MUL, NetworkEditor, Pass, binary, only_user


def _fold(network: NetworkEditor) -> None:
    pending = list(network.graph.nodes)
    while pending:
        node = pending.pop(0)
        for value, factor in _products(network, node):
            left_over = _fold_one(network, node, value, factor)
            if left_over is not None:
                pending.append(left_over)


def _products(network: NetworkEditor, node: fx.Node) -> list[tuple[fx.Node, fx.Node | float]]:
    """`node` as (value, constant factor), if it is such a product."""
    operands = binary(node, MUL)
    if operands is None:
        return []
    for value, factor in (operands, operands[::-1]):
        if isinstance(value, fx.Node) and network.constant(factor) is not None:
            assert isinstance(factor, fx.Node | int | float)
            return [(value, factor)]
    return []


def _fold_one(
    network: NetworkEditor, node: fx.Node, value: fx.Node, factor: fx.Node | float
) -> fx.Node | None:
    """`node` = factor * value. Returns the product that is left on the residual, if any."""
    residual = None
    source = value
    if network.convolution(source) is None:
        addends = [a for a in binary(value, ADD) or () if isinstance(a, fx.Node)]
        sources = [a for a in addends if network.convolution(a)]
        if len(addends) != 2 or not sources:
            return None  # no layer scale: a factor on something else
        source = sources[0]
        residual = addends[1] if addends[0] is source else addends[0]
    conv = network.convolution(source)
    assert conv is not None
    scale = network.per_channel(factor, conv.out_channels)
    reason = (
        "the factor is not one per channel"
        if scale is None
        else f"{source.target} is read elsewhere too"
        if only_user(source) is None or only_user(value) is None
        else network.why_shared(source)
    )
    if reason or scale is None:
        network.leave(node, reason or "")
        return None
    if not network.claim(node):
        return None
    fold_backward(conv, scale)
    if residual is None:
        network.replace(node, source)
        return None
    with network.graph.inserting_before(node):
        scaled = network.graph.call_function(torch.mul, (residual, factor))
        total = network.graph.call_function(torch.add, (source, scaled))
    network.replace(node, total)
    return scaled


FOLD = Pass(
    "layer-scale-into-conv",
    "the layer scale folds into the closing convolution and leaves only the residual scaled",
    _fold,
)
