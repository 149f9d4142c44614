"""Products of batches of matrices with one batch dimension.

The product of (.., n, m) and (.., m, p) with equal dimensions before the last two is that of
(b, n, m) and (b, m, p). ExecuTorch expands the operands of any other product before it joins the
dimensions itself, which stays outside XNNPACK (executorch 1.4).
"""

from __future__ import annotations

import math

import torch
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten


def batched_products(program: ExportedProgram) -> int:
    """Rewrite every product of two batches of equal, fixed shape; returns how many."""
    graph = program.graph_module.graph
    places = 0
    for node in calls(program, _ATEN.matmul.default):
        left, right = (static_shape(operand) for operand in node.args)
        if left is None or right is None or len(left) < 3 or left[:-2] != right[:-2]:
            continue
        batch = math.prod(left[:-2])
        with graph.inserting_before(node):
            x, y = (
                emit(graph, _ATEN.reshape.default, operand, (batch, *shape[-2:]))
                for operand, shape in zip(node.args, (left, right), strict=True)
            )
            product = emit(graph, _ATEN.bmm.default, x, y)
            shape = tuple(node.meta["val"].shape)
            result = emit(graph, _ATEN.reshape.default, product, shape)
        replace(program, node, result)
        places += 1
    if places:
        changed(program)
    return places
