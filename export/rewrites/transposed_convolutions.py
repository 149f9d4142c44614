"""A transposed convolution with output padding as one with zeros behind its kernel.

Output padding shows rows that lie behind what the kernel reaches; with e zeros added behind the
kernel, dilation d, it reaches d e further::

    convT(x, k, padding p, output padding o) = convT(x, [k 0], 0)[p : p + size]

where e is the least with d e >= o - p. coremltools 9 pads the *input* when o exceeds p, which gives
another size, and fails where p is zero (apple/coremltools #2377).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.nn import functional as F

from .nodes import add_constant, calls, changed, constant_of, emit, replace

_ATEN = torch.ops.aten
_CONVS: dict[torch._ops.OpOverload, int] = {
    _ATEN.conv_transpose1d.default: 1,
    _ATEN.conv_transpose2d.input: 2,
    _ATEN.conv_transpose3d.input: 3,
}
_DEFAULTS: tuple[Any, ...] = (None, [1], [0], [0], 1, [1])


def output_padding(program: ExportedProgram) -> int:
    """Rewrite every transposed convolution with output padding; returns how many."""
    places = sum(_rewrite(program, node) for node in calls(program, *_CONVS))
    if places:
        changed(program)
    return places


def _rewrite(program: ExportedProgram, node: fx.Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    rank = _CONVS[node.target]
    x, kernel = node.args[:2]
    options = [*node.args[2:], *_DEFAULTS[len(node.args) - 2 :]]
    bias, stride, padding, extra, groups, dilation = options
    padding, extra, dilation = (_per_axis(v, rank) for v in (padding, extra, dilation))
    if node.kwargs or not any(extra):
        return False
    zeros = [max(0, -(-(o - p) // d)) for o, p, d in zip(extra, padding, dilation, strict=True)]
    weight = constant_of(program, kernel)
    assert isinstance(kernel, fx.Node)
    if any(zeros):
        if weight is None:
            return False
        behind = [amount for zero in reversed(zeros) for amount in (0, zero)]
        kernel = add_constant(program, kernel.name, F.pad(weight, behind))
    graph = program.graph_module.graph
    with graph.inserting_before(node):
        full = emit(
            graph, node.target, x, kernel, bias, stride, [0] * rank, [0] * rank, groups, dilation
        )
        for axis, before in enumerate(padding):
            dim = node.meta["val"].dim() - rank + axis
            size = node.meta["val"].shape[dim]
            if (before, before + size) != (0, full.meta["val"].shape[dim]):
                full = emit(graph, _ATEN.slice.Tensor, full, dim, before, before + size)
    replace(program, node, full)
    return True


def _per_axis(value: Any, rank: int) -> list[int]:
    numbers: list[int] = list(value) if isinstance(value, list | tuple) else [value]
    return numbers * rank if len(numbers) == 1 else numbers
