"""GELU's tanh form, written out::

    gelu(x) = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2

coremltools 9 takes it for the exact GELU when it comes through torch.export, which moves results
by up to 5e-4, but recognises the formula and writes its own operator in the right mode.
"""

from __future__ import annotations

import math

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, replace

_ATEN = torch.ops.aten


def tanh_gelu_written_out(program: ExportedProgram) -> int:
    """Rewrite every GELU with `approximate="tanh"`; returns how many."""
    graph = program.graph_module.graph
    found = [n for n in calls(program, _ATEN.gelu.default) if n.kwargs.get("approximate") == "tanh"]
    for node in found:
        with graph.inserting_before(node):
            result = _formula(graph, node)
        replace(program, node, result)
    if found:
        changed(program)
    return len(found)


def _formula(graph: fx.Graph, node: fx.Node) -> fx.Node:
    x = node.args[0]
    value = node.meta["val"]

    def call(target: torch._ops.OpOverload, *operands: object) -> fx.Node:
        new = graph.call_function(target, operands)  # type: ignore[arg-type]  # nodes and numbers
        new.meta = dict(node.meta)
        return new

    def number(constant: float) -> fx.Node:
        # A tensor, as the converter's pattern has its constants first, where no number may stand.
        new = graph.call_function(_ATEN.full.default, ([], constant), {"dtype": value.dtype})
        new.meta["val"] = value.new_empty(())
        return new

    cube = call(_ATEN.mul.Tensor, number(0.044715), call(_ATEN.pow.Tensor_Scalar, x, 3.0))
    inner = call(_ATEN.mul.Tensor, number(math.sqrt(2 / math.pi)), call(_ATEN.add.Tensor, x, cube))
    outer = call(_ATEN.add.Tensor, number(1.0), call(_ATEN.tanh.default, inner))
    return call(_ATEN.mul.Tensor, call(_ATEN.mul.Tensor, number(0.5), outer), x)
