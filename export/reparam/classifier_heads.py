"""Two classifiers on the same features into one.

LayerNorm is u -> w n(u) + c with n(u) free of parameters, so its affine part belongs to the
Linear after it::

    W (w n + c) + b = (W diag(w)) n + (W c + b)

Heads that normalise the same u the same way then read the same n, and their mean is one Linear::

    ((A n + a) + (B n + b)) / 2 = (A + B)/2 n + (a + b)/2
"""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx, nn

from .base import ADD, MUL, NetworkEditor, Pass, binary, only_user

_DIVIDE = (operator.truediv, operator.itruediv, torch.div)


def _rewrite(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        addends = binary(node, ADD)
        if addends and all(network.module(a, nn.Linear) is not None for a in addends):
            first, second = addends
            assert isinstance(first, fx.Node) and isinstance(second, fx.Node)
            _merge(network, node, first, second)


def _merge(network: NetworkEditor, total: fx.Node, first: fx.Node, second: fx.Node) -> None:
    reason = _why_not(network, first, second)
    if reason:
        network.leave(total, reason)
        return
    if not network.claim(total):
        return
    outputs, factor = _scaled(total)
    weights, biases = zip(*(_without_affine(network, n) for n in (first, second)), strict=True)
    weight, bias = factor * (weights[0] + weights[1]), factor * (biases[0] + biases[1])
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = nn.Parameter(bias, requires_grad=False)
    name = network.add_module(first, "merged", linear.eval())
    source = _through_dropout(network, first.args[0])
    norm = network.module(source, nn.LayerNorm)
    with network.graph.inserting_before(total):
        if norm is not None:
            plain = nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)
            normed = network.add_module(source, "merged", plain.eval())
            source = network.graph.call_module(normed, (source.args[0],))
        merged = network.graph.call_module(name, (source,))
    network.replace(outputs, merged)


def _why_not(network: NetworkEditor, first: fx.Node, second: fx.Node) -> str | None:
    if only_user(first) is None or only_user(second) is None:
        return "a classifier's output is read elsewhere too"
    if not _same_normalized(network, first.args[0], second.args[0]):
        return f"{first.target} and {second.target} do not read the same features"
    return None


def _through_dropout(network: NetworkEditor, node: object) -> fx.Node:
    assert isinstance(node, fx.Node)
    while network.module(node, (nn.Dropout, nn.Identity)) is not None:
        node = node.args[0]
        assert isinstance(node, fx.Node)
    return node


def _same_normalized(network: NetworkEditor, left: object, right: object) -> bool:
    """Equal up to the affine parameters of a LayerNorm."""
    left, right = _through_dropout(network, left), _through_dropout(network, right)
    norms = network.module(left, nn.LayerNorm), network.module(right, nn.LayerNorm)
    if norms[0] is None or norms[1] is None:
        return _same(network, left, right)
    if (norms[0].normalized_shape, norms[0].eps) != (norms[1].normalized_shape, norms[1].eps):
        return False
    return _same(network, left.args[0], right.args[0])


def _same(network: NetworkEditor, left: object, right: object) -> bool:
    """Whether two nodes compute the same value: equal operations, all the way to equal nodes."""
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        return left == right
    if left is right:
        return True
    if left.op != right.op or left.kwargs != right.kwargs or len(left.args) != len(right.args):
        return False
    if left.op == "call_module":
        if not _same_module(network, left, right):
            return False
    elif left.op not in ("call_function", "call_method") or left.target != right.target:
        return False
    return all(_same(network, a, b) for a, b in zip(left.args, right.args, strict=True))


def _same_module(network: NetworkEditor, left: fx.Node, right: fx.Node) -> bool:
    if left.target == right.target:
        return True
    one = network.model.get_submodule(str(left.target))
    two = network.model.get_submodule(str(right.target))
    plain = not list(one.parameters()) and not list(two.parameters())
    return plain and type(one) is type(two) and repr(one) == repr(two)


def _scaled(total: fx.Node) -> tuple[fx.Node, float]:
    """The node that holds the sum times a number, and the number: (total, 1) if there is none."""
    user = only_user(total)
    for functions, reciprocal in ((_DIVIDE, True), (MUL, False)):
        operands = binary(user, functions) if user is not None else None
        if operands and operands[0] is total and isinstance(operands[1], int | float):
            assert user is not None
            return user, 1 / operands[1] if reciprocal else operands[1]
    return total, 1.0


@torch.no_grad()
def _without_affine(network: NetworkEditor, node: fx.Node) -> tuple[Tensor, Tensor]:
    """Weight and bias of the Linear that `node` calls, its LayerNorm's affine part folded in."""
    linear = network.module(node, nn.Linear)
    assert linear is not None
    weight = linear.weight.detach().clone()
    bias = weight.new_zeros(weight.shape[0]) if linear.bias is None else linear.bias.detach()
    norm = network.module(_through_dropout(network, node.args[0]), nn.LayerNorm)
    if norm is not None and norm.weight is not None:
        if norm.bias is not None:
            bias = bias + weight @ norm.bias
        weight = weight * norm.weight
    return weight, bias


MERGE = Pass(
    "merge-classifier-heads",
    "two averaged classifiers on the same features become one Linear",
    _rewrite,
)
