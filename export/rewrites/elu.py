"""ELU plus one, the positive map of linear attention, without ELU::

    ELU(t) + 1 = relu(t) + exp(t - relu(t))

exact, as t - relu(t) is t or 0. XNNPACK's partitioner leaves ELU outside (executorch 1.4). ELU by
itself stays: exp(t) - 1 cancels near zero.
"""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace

_ATEN = torch.ops.aten
_ELU = _ATEN.elu.default


def elu_plus_one(program: ExportedProgram) -> int:
    """Rewrite every sum of an ELU, its constants 1, and 1; returns how many."""
    graph = program.graph_module.graph
    places = 0
    for node in calls(program, _ATEN.add.Tensor):
        if not _is_pattern(node):
            continue
        elu = node.args[0]
        assert isinstance(elu, fx.Node)
        x = elu.args[0]
        with graph.inserting_before(node):
            positive = emit(graph, _ATEN.relu.default, x)
            negative = emit(graph, _ATEN.sub.Tensor, x, positive)
            power = emit(graph, _ATEN.exp.default, negative)
            result = emit(graph, _ATEN.add.Tensor, positive, power)
        replace(program, node, result)
        if not elu.users:
            graph.erase_node(elu)
        places += 1
    if places:
        changed(program)
    return places


def _is_pattern(node: fx.Node) -> bool:
    """Whether `node` is elu(x) + 1, with alpha, scale and input scale 1."""
    elu, one = node.args
    if not isinstance(elu, fx.Node) or elu.target is not _ELU or one != 1 or node.kwargs:
        return False
    return all(factor == 1 for factor in (*elu.args[1:], *elu.kwargs.values()))
