"""Layer normalisation as the operations it is made of::

    d = x - mean(x);   n(x) = d / sqrt(mean(d^2) + eps);   y = n(x) w + b

XNNPACK has none (executorch 1.4), but takes these. The means are those of rows
(rows, 1, 1, values) over the last two dimensions; see `means`.
"""

from __future__ import annotations

import math

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten
_DEFAULTS = (None, None, 1e-5)


def layer_norms_written_out(program: ExportedProgram) -> int:
    """Rewrite every layer normalisation of fixed shape; returns how many."""
    graph = program.graph_module.graph
    places = 0
    for node in calls(program, _ATEN.layer_norm.default):
        shape = static_shape(node.args[0])
        if shape is None or node.kwargs:
            continue
        with graph.inserting_before(node):
            result = _formula(graph, node, shape)
        replace(program, node, result)
        places += 1
    if places:
        changed(program)
    return places


def _formula(graph: fx.Graph, node: fx.Node, shape: tuple[int, ...]) -> fx.Node:
    x, normalized, *options = node.args
    weight, bias, eps = (*options, *_DEFAULTS[len(options) :])[:3]
    assert isinstance(normalized, list | tuple)
    values = math.prod(shape[-len(normalized) :])
    rows = (math.prod(shape) // values, 1, 1, values)
    x = emit(graph, _ATEN.reshape.default, x, rows)
    mean = emit(graph, _ATEN.mean.dim, x, [2, 3], True)
    centred = emit(graph, _ATEN.sub.Tensor, x, mean)
    squares = emit(graph, _ATEN.mul.Tensor, centred, centred)
    variance = emit(graph, _ATEN.mean.dim, squares, [2, 3], True)
    guarded = emit(graph, _ATEN.add.Tensor, variance, eps)
    scale = emit(graph, _ATEN.rsqrt.default, guarded)
    y = emit(graph, _ATEN.mul.Tensor, centred, scale)
    y = emit(graph, _ATEN.reshape.default, y, shape)
    y = y if weight is None else emit(graph, _ATEN.mul.Tensor, y, weight)
    return y if bias is None else emit(graph, _ATEN.add.Tensor, y, bias)
