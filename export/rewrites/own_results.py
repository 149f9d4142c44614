"""Outputs that are a tensor of their own.

A network may return a tensor twice, or an input as it came. coremltools renames a tensor to the
output it is, so of two outputs that are one tensor only the last remains (apple/coremltools #1887),
and of an input none. It also leaves out copies, which makes one of two. A view of the same shape,
which changes nothing, is a tensor of its own.
"""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, TensorArgument

from .nodes import changed, emit

_ATEN = torch.ops.aten
_COPIES = frozenset(
    {
        _ATEN.alias.default,
        _ATEN.clone.default,
        _ATEN.contiguous.default,
        _ATEN.detach.default,
        _ATEN.detach_.default,
        _ATEN.dropout.default,
        _ATEN.feature_dropout.default,
        _ATEN.lift_fresh_copy.default,
        _ATEN.to.dtype,
        _ATEN._to_copy.default,
        _ATEN.expand.default,
    }
)
"""What gives its first argument, if shape and element type are the same, as no network is trained
here."""


def own_results(program: ExportedProgram) -> int:
    """Give every output that is an input or an output before it a tensor; returns how many."""
    graph = program.graph_module.graph
    end = next(node for node in reversed(graph.nodes) if node.op == "output")
    results = list(end.args[0])
    taken: set[fx.Node] = {node for node in graph.nodes if node.op == "placeholder"}
    places = 0
    for index, spec in enumerate(program.graph_signature.output_specs):
        node = results[index]
        if spec.kind is not OutputKind.USER_OUTPUT or not isinstance(node, fx.Node):
            continue
        if _origin(node) in taken:
            with graph.inserting_before(end):
                node = emit(graph, torch.ops.aten.view.default, node, list(node.meta["val"].shape))
            results[index], spec.arg = node, TensorArgument(node.name)
            places += 1
        taken |= {node, _origin(node)}
    if places:
        end.args = (tuple(results),)
        changed(program)
    return places


def _origin(node: fx.Node) -> fx.Node:
    """What `node` is a copy of."""
    while node.target in _COPIES and isinstance(node.args[0], fx.Node):
        source = node.args[0]
        value, before = node.meta["val"], source.meta["val"]
        if value.dtype is not before.dtype or value.shape != before.shape:
            break
        node = source
    return node
