"""A mean over any dimensions as one over the last two of four, which XNNPACK takes.

XNNPACK's partitioner refuses every mean but that of a map (n, c, h, w) over (h, w) with the
dimensions kept (executorch 1.4). Any other is one of those, with the dimensions it runs over moved
to the end and joined: (rows, 1, 1, values). That shape is the same in every layout, so no map is
transposed for it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten


def means_over_maps(program: ExportedProgram) -> int:
    """Rewrite every mean of floating-point values and fixed shape; returns how many."""
    graph = program.graph_module.graph
    places = 0
    for node in calls(program, _ATEN.mean.dim):
        shape = static_shape(node.args[0])
        if shape is None or node.kwargs.get("dtype") is not None or not shape:
            continue
        given: Any = node.args[1] or range(len(shape))
        dims = sorted(dim % len(shape) for dim in given)
        keeps = len(node.args) > 2 and bool(node.args[2])
        if keeps and len(shape) == 4 and dims == [2, 3]:
            continue
        with graph.inserting_before(node):
            result = _mean(graph, node, shape, dims)
        replace(program, node, result)
        places += 1
    if places:
        changed(program)
    return places


def _mean(graph: fx.Graph, node: fx.Node, shape: tuple[int, ...], dims: list[int]) -> fx.Node:
    x, result = node.args[0], tuple(node.meta["val"].shape)
    if len(shape) == 4 and dims == [2, 3]:
        kept = emit(graph, _ATEN.mean.dim, x, [2, 3], True)
        return emit(graph, _ATEN.reshape.default, kept, result)
    order = [dim for dim in range(len(shape)) if dim not in dims] + dims
    if order != sorted(order):
        x = emit(graph, _ATEN.permute.default, x, order)
    values = math.prod(shape[dim] for dim in dims)
    rows = (math.prod(shape) // values, 1, 1, values)
    x = emit(graph, _ATEN.reshape.default, x, rows)
    kept = emit(graph, _ATEN.mean.dim, x, [2, 3], True)
    return emit(graph, _ATEN.reshape.default, kept, result)
