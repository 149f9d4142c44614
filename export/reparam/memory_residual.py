"""The two residuals of the memory channels into one.

A CARE block closes with y + g G + x, where G = [memory, R] and x = [memory, features]: the memory
is added twice. Group by group::

    g G + x = [(1 + g_m) memory,  g_f R + features]
"""

from __future__ import annotations

import operator

import torch
from torch import fx

from .base import ADD, MUL, NetworkEditor, Pass, binary, concatenated


def _rewrite(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        terms = _terms(node)
        for scaled in terms:
            operands = binary(scaled, MUL)
            if operands is None:
                continue
            joined, factor = operands
            for x in terms:
                rest = [t for t in terms if t is not scaled and t is not x]
                if x is not scaled and _merge(network, node, joined, factor, x, rest):
                    break


def _terms(node: fx.Node) -> list[fx.Node]:
    """The three addends of `node` = (a + b) + c or c + (a + b), else none."""
    outer = binary(node, ADD)
    for inner, other in (outer, outer[::-1]) if outer else ():
        pair = binary(inner, ADD)
        if pair and isinstance(inner, fx.Node) and len(inner.users) == 1:
            terms = [*pair, other]
            if all(isinstance(term, fx.Node) for term in terms):
                return terms  # type: ignore[return-value]
    return []


def _merge(
    network: NetworkEditor,
    node: fx.Node,
    joined: object,
    factor: object,
    x: fx.Node,
    rest: list[fx.Node],
) -> bool:
    """Rewrite `node` = rest + factor * cat(memory, R) + x if `memory` leads `x` too."""
    parts = concatenated(joined)
    if len(parts) != 2 or len(rest) != 1:
        return False
    memory, features = parts
    groups = _groups(memory, x)
    if not groups:
        return False
    channels = sum(groups)
    scale = network.per_channel(factor, channels)
    if scale is None:
        network.leave(node, "the factor on the joined channels is not one per channel")
        return False
    if not network.claim(node):
        return False
    column = scale.reshape(channels, 1, 1)
    with network.graph.inserting_before(node):
        on_memory = network.add_constant(node, "memory_scale", 1 + column[: groups[0]])
        on_features = network.add_constant(node, "feature_scale", column[groups[0] :].clone())
        call = network.graph.call_function
        halves = call(torch.split, (x, [groups[0], channels - groups[0]]), {"dim": 1})
        tail = call(operator.getitem, (halves, 1))
        merged = call(
            torch.cat,
            (
                [
                    call(torch.mul, (memory, on_memory)),
                    call(torch.add, (call(torch.mul, (features, on_features)), tail)),
                ],
            ),
            {"dim": 1},
        )
        total = call(torch.add, (rest[0], merged))
    network.replace(node, total)
    return True


def _groups(part: fx.Node, x: fx.Node) -> list[int]:
    """The group sizes if `part` is the first group of `x` split along the channels, else none."""
    if part.target is not operator.getitem or part.args[1] != 0:
        return []
    split = part.args[0]
    if not isinstance(split, fx.Node) or split.target is not torch.split or split.args[0] is not x:
        return []
    sizes = split.args[1] if len(split.args) > 1 else None
    dim = split.kwargs.get("dim", split.args[2] if len(split.args) > 2 else 0)
    return list(sizes) if dim == 1 and isinstance(sizes, list | tuple) else []


MERGE = Pass(
    "merge-memory-residuals",
    "the memory's two residuals become one scaled term",
    _rewrite,
)
