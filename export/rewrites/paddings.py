"""Padding that Core ML's `pad` does not have, as pieces side by side.

Core ML pads with a constant anywhere, and repeats or mirrors along the last two axes only: a
package that does so elsewhere does not load (apple/coremltools #2571, #2576, PR #2701). It repeats
no further than the axis is long (webmachinelearning/webnn #739), has no circular padding and cuts
nothing off. Along one axis of n elements, a before and b behind::

    circular   [x[n-a:], x, x[:b]]
    reflect    [x[1:a+1] reversed, x, x[n-1-b:n-1] reversed]
    replicate  [x[:1] a times, x, x[n-1:] b times]
    negative   x[a:n-b]

and several axes are padded one after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten
_PAD = _ATEN.pad.default
_MODES = ("circular", "reflect", "replicate")


def paddings_in_pieces(program: ExportedProgram) -> int:
    """Rewrite every padding that Core ML has not; returns how many."""
    places = 0
    for node in calls(program, _PAD):
        shape = static_shape(node.args[0])
        pads: Any = node.args[1]
        mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
        if shape is None or not _needs(mode, pads, shape):
            continue
        with program.graph_module.graph.inserting_before(node):
            result = _padded(program.graph_module.graph, node, list(pads), str(mode))
        replace(program, node, result)
        places += 1
    if places:
        changed(program)
    return places


def _needs(mode: object, pads: list[int], shape: tuple[int, ...]) -> bool:
    if any(amount < 0 for amount in pads) or mode == "circular":
        return True
    wide = any(amount > shape[-1 - place // 2] for place, amount in enumerate(pads))
    return mode in _MODES and (any(pads[4:]) or wide)


def _padded(graph: fx.Graph, node: fx.Node, pads: list[int], mode: str) -> fx.Node:
    x: Any = node.args[0]
    rank = x.meta["val"].dim()
    for number in range(len(pads) // 2):
        dim = rank - 1 - number
        before, after = pads[2 * number : 2 * number + 2]
        size = x.meta["val"].shape[dim]
        if before < 0 or after < 0:
            x = emit(graph, _ATEN.slice.Tensor, x, dim, max(0, -before), size - max(0, -after))
            before, after, size = max(0, before), max(0, after), x.meta["val"].shape[dim]
        if mode in _MODES and (before or after):
            pieces = [_piece(graph, x, dim, mode, before, True), x]
            pieces.append(_piece(graph, x, dim, mode, after, False))
            x = emit(graph, _ATEN.cat.default, [p for p in pieces if p is not None], dim)
    rest = [max(0, amount) for amount in pads]
    if mode not in _MODES and any(rest):
        value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value")
        x = emit(graph, _PAD, x, rest, mode, 0.0 if value is None else value)
    assert isinstance(x, fx.Node)
    return x


def _piece(
    graph: fx.Graph, x: fx.Node, dim: int, mode: str, amount: int, first: bool
) -> fx.Node | None:
    """What lies before (`first`) or behind x along `dim`."""
    if not amount:
        return None
    size = x.meta["val"].shape[dim]
    if mode == "circular":
        start, stop = (size - amount, size) if first else (0, amount)
        return emit(graph, _ATEN.slice.Tensor, x, dim, start, stop)
    if mode == "reflect":
        start, stop = (1, amount + 1) if first else (size - 1 - amount, size - 1)
        return emit(
            graph, _ATEN.flip.default, emit(graph, _ATEN.slice.Tensor, x, dim, start, stop), [dim]
        )
    edge = emit(graph, _ATEN.slice.Tensor, x, dim, *((0, 1) if first else (size - 1, size)))
    times = [amount if axis == dim else 1 for axis in range(x.meta["val"].dim())]
    return emit(graph, _ATEN.repeat.default, edge, times)
