"""A reciprocal as a division: coremltools 9 writes `inverse`, which is 1 / (x + 1e-4)."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, number, replace

_RECIPROCAL = torch.ops.aten.reciprocal.default


def reciprocals_to_divisions(program: ExportedProgram) -> int:
    """Rewrite every reciprocal of a floating-point tensor; returns how many."""
    graph = program.graph_module.graph
    found = calls(program, _RECIPROCAL)
    for node in found:
        with graph.inserting_before(node):
            one = number(graph, 1.0, node)
            quotient = emit(graph, torch.ops.aten.div.Tensor, one, node.args[0])
        replace(program, node, quotient)
    if found:
        changed(program)
    return len(found)
