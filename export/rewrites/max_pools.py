"""Maximum pooling that Core ML does not have, axis by axis.

A maximum over a window is the maximum of maxima over its rows. Along an axis, with dilation d and
stride s, it is the greatest of strided slices, one per tap::

    y[i] = max over t of x[s i + d t]

and with adaptive windows, of any size each, a greatest per output. Core ML has neither dilated nor
adaptive maxima; coremltools writes one operation per window of the latter, rows times columns of
them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten
_ADAPTIVE = {
    _ATEN.adaptive_max_pool1d.default: 1,
    _ATEN.adaptive_max_pool2d.default: 2,
    _ATEN.adaptive_max_pool3d.default: 3,
}
_DILATED: dict[torch._ops.OpOverload, int] = {
    _ATEN.max_pool1d.default: 1,
    _ATEN.max_pool2d.default: 2,
    _ATEN.max_pool3d.default: 3,
}
_DEFAULTS: tuple[Any, ...] = ([], [0], [1], False)


def max_pools(program: ExportedProgram) -> int:
    """Rewrite every dilated or adaptive maximum whose places nobody asks for; returns how many."""
    places = sum(_rewrite_dilated(program, node) for node in calls(program, *_DILATED))
    places += sum(_rewrite_adaptive(program, node) for node in calls(program, *_ADAPTIVE))
    if places:
        changed(program)
    return places


def adaptive_maxima(program: ExportedProgram) -> int:
    """Rewrite adaptive maxima only, for targets that have dilated ones; returns how many."""
    nodes = calls(program, *_ADAPTIVE)
    places = sum(_rewrite_even(program, node) or _rewrite_adaptive(program, node) for node in nodes)
    if places:
        changed(program)
    return places


def _rewrite_even(program: ExportedProgram, node: fx.Node) -> bool:
    """Windows of one size are those of an ordinary pool."""
    shape = static_shape(node.args[0])
    parts = {user.args[1]: user for user in node.users}
    values, places = parts.get(0), parts.get(1)
    if shape is None or values is None or len(shape) != 4 or (places and places.users):
        return False
    sizes = list(zip(shape[2:], values.meta["val"].shape[2:], strict=True))
    if any(size % count for size, count in sizes):
        return False
    graph = program.graph_module.graph
    kernel = [size // count for size, count in sizes]
    with graph.inserting_before(values):
        pool = emit(graph, _ATEN.max_pool2d.default, node.args[0], kernel, kernel)
    replace(program, values, pool)
    for unread in (places, node):
        if unread is not None:
            graph.erase_node(unread)
    return True


def _rewrite_dilated(program: ExportedProgram, node: fx.Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    rank = _DILATED[node.target]
    shape = static_shape(node.args[0])
    kernel, *given = node.args[1:]
    options = [*given, *_DEFAULTS[len(given) :]]
    stride, padding, dilation = options[:3]
    steps = _per_axis(dilation, rank)
    if shape is None or node.kwargs or all(step == 1 for step in steps):
        return False
    graph = program.graph_module.graph
    taps, strides = _per_axis(kernel, rank), _per_axis(stride or kernel, rank)
    outputs = node.meta["val"].shape[-rank:]
    pads: list[int] = []
    for axis in reversed(range(rank)):
        before = _per_axis(padding, rank)[axis]
        end = (outputs[axis] - 1) * strides[axis] + (taps[axis] - 1) * steps[axis] + 1
        pads += [before, max(0, end - before - shape[-rank + axis])]
    with graph.inserting_before(node):
        x: Any = node.args[0]
        if any(pads):
            x = emit(graph, _ATEN.constant_pad_nd.default, x, pads, -math.inf)
        for axis in range(rank):
            dim, last = len(shape) - rank + axis, (outputs[axis] - 1) * strides[axis]
            slices = [
                emit(graph, _ATEN.slice.Tensor, x, dim, tap * steps[axis],
                     tap * steps[axis] + last + 1, strides[axis])
                for tap in range(taps[axis])
            ]  # fmt: skip
            x = slices[0]
            for other in slices[1:]:
                x = emit(graph, _ATEN.maximum.default, x, other)
    replace(program, node, x)
    return True


def _rewrite_adaptive(program: ExportedProgram, node: fx.Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    rank = _ADAPTIVE[node.target]
    shape = static_shape(node.args[0])
    parts = {user.args[1]: user for user in node.users}
    values, places = parts.get(0), parts.get(1)
    if shape is None or values is None or (places is not None and places.users):
        return False  # Core ML has no places of maxima
    outputs = values.meta["val"].shape[-rank:]
    sizes = shape[-rank:]
    if rank == 2 and all(n % m == 0 for n, m in zip(sizes, outputs, strict=True)):
        return False
    graph = program.graph_module.graph
    with graph.inserting_before(values):
        x: Any = node.args[0]
        for axis, (size, count) in enumerate(zip(sizes, outputs, strict=True)):
            x = _greatest(graph, x, len(shape) - rank + axis, size, count)
        if x is node.args[0]:
            x = emit(graph, _ATEN.view.default, x, list(shape))
    replace(program, values, x)
    for unread in (places, node):
        if unread is not None:
            graph.erase_node(unread)
    return True


def _greatest(graph: fx.Graph, x: fx.Node, dim: int, size: int, count: int) -> fx.Node:
    if size == count:
        return x
    rows = []
    for place in range(count):
        start, stop = place * size // count, -(-(place + 1) * size // count)
        window = emit(graph, _ATEN.slice.Tensor, x, dim, start, stop)
        rows.append(emit(graph, _ATEN.amax.default, window, [dim], True))
    return rows[0] if count == 1 else emit(graph, _ATEN.cat.default, rows, dim)


def _per_axis(value: Any, rank: int) -> list[int]:
    numbers: list[int] = list(value) if isinstance(value, list | tuple) else [value]
    return numbers * rank if len(numbers) == 1 else numbers
