"""Reciprocals as divisions: Core ML's own are guarded by an epsilon.

coremltools 9 writes `inverse`, which is 1 / (x + 1e-4) (mended in apple/coremltools #2773), and
`rsqrt`, which is 1 / sqrt(x + 1e-12). Here they become::

    1 / x                 a division
    1 / sqrt(x)           a division by a root

A root of a sum with a constant of 1e-6 or more, as in every normalisation, stays: there the epsilon
changes the result by less than float32 holds, and coremltools knows the pattern.
"""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, number, replace

_ATEN = torch.ops.aten
_RECIPROCAL = _ATEN.reciprocal.default
_RSQRT = _ATEN.rsqrt.default
_GUARDED = 1e-6


def reciprocals_to_divisions(program: ExportedProgram) -> int:
    """Rewrite every reciprocal of a floating-point tensor; returns how many."""
    return _rewrite(program, calls(program, _RECIPROCAL))


def roots_to_divisions(program: ExportedProgram) -> int:
    """Rewrite every reciprocal of a root that nothing guards; returns how many."""
    found = calls(program, _RSQRT)
    return _rewrite(program, [node for node in found if not _is_guarded(node.args[0])])


def _rewrite(program: ExportedProgram, found: list[fx.Node]) -> int:
    graph = program.graph_module.graph
    for node in found:
        with graph.inserting_before(node):
            one, below = number(graph, 1.0, node), node.args[0]
            if node.target is _RSQRT:
                below = emit(graph, _ATEN.sqrt.default, below)
            quotient = emit(graph, _ATEN.div.Tensor, one, below)
        replace(program, node, quotient)
    if found:
        changed(program)
    return len(found)


def _is_guarded(node: object) -> bool:
    """Whether `node` adds a constant to what cannot be negative but by mistake."""
    if not isinstance(node, fx.Node) or node.target is not _ATEN.add.Tensor:
        return False
    return any(isinstance(term, float | int) and term >= _GUARDED for term in node.args)
