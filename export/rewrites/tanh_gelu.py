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

from .nodes import calls, changed, emit, number, replace

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
    # Constants first, as in the converter's pattern, where no plain number may stand.
    cubic, slope = number(graph, 0.044715, node), number(graph, math.sqrt(2 / math.pi), node)
    cube = emit(graph, _ATEN.mul.Tensor, cubic, emit(graph, _ATEN.pow.Tensor_Scalar, x, 3.0))
    inner = emit(graph, _ATEN.mul.Tensor, slope, emit(graph, _ATEN.add.Tensor, x, cube))
    curve = emit(graph, _ATEN.tanh.default, inner)
    outer = emit(graph, _ATEN.add.Tensor, number(graph, 1.0, node), curve)
    half = emit(graph, _ATEN.mul.Tensor, number(graph, 0.5, node), outer)
    return emit(graph, _ATEN.mul.Tensor, half, x)
