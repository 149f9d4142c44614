"""Resampling of axes that Core ML does not have, or does otherwise, in operators that it has.

Every resizing and adaptive averaging of PyTorch works axis by axis, and is linear: along an axis of
n elements it is a matrix (m, n), which is what it makes of the unit vectors. So

    resize(x) = H x W^T                  a matrix product per axis that changes
    nearest(x) = x[.., rows, columns]    a choice of places per axis, each of whose rows has a one

The matrices are those of PyTorch's own operator, in float64, so that its way of counting holds (a
scale that is given and not recomputed, half-pixel centres, antialiasing). What Core ML does alike
stays: bilinear resizing to a size that follows from the scale, nearest neighbours with whole
factors, and averages over windows of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from .nodes import add_constant, calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten
_LINEAR: dict[torch._ops.OpOverload, int] = {
    _ATEN.upsample_linear1d.vec: 1,
    _ATEN.upsample_bilinear2d.vec: 2,
    _ATEN.upsample_trilinear3d.vec: 3,
    _ATEN.upsample_bicubic2d.vec: 2,
    _ATEN._upsample_bilinear2d_aa.vec: 2,
    _ATEN._upsample_bicubic2d_aa.vec: 2,
    _ATEN.adaptive_avg_pool1d.default: 1,
    _ATEN.adaptive_avg_pool2d.default: 2,
    _ATEN.adaptive_avg_pool3d.default: 3,
}
_NEAREST: dict[torch._ops.OpOverload, int] = {
    _ATEN.upsample_nearest1d.vec: 1,
    _ATEN.upsample_nearest2d.vec: 2,
    _ATEN.upsample_nearest3d.vec: 3,
    _ATEN._upsample_nearest_exact1d.vec: 1,
    _ATEN._upsample_nearest_exact2d.vec: 2,
    _ATEN._upsample_nearest_exact3d.vec: 3,
}
_ADAPTIVE = "adaptive_avg_pool"


def resampling(program: ExportedProgram) -> int:
    """Rewrite every resampling that Core ML has not; returns how many."""
    return _rewrite(program, calls(program, *_LINEAR, *_NEAREST))


def adaptive_averages(program: ExportedProgram) -> int:
    """Rewrite adaptive averages over windows of several sizes only; returns how many."""
    averages = [node for node in calls(program, *_LINEAR) if _name(node).startswith(_ADAPTIVE)]
    return _rewrite(program, averages)


def _rewrite(program: ExportedProgram, nodes: Sequence[fx.Node]) -> int:
    places = 0
    for node in nodes:
        shape = static_shape(node.args[0])
        if shape is None or node.kwargs or _core_ml_has(node, shape):
            continue
        replace(program, node, _written_out(program, node, shape))
        places += 1
    if places:
        changed(program)
    return places


def _core_ml_has(node: fx.Node, shape: tuple[int, ...]) -> bool:
    rank = _rank(node)
    sizes = list(zip(shape[-rank:], node.meta["val"].shape[-rank:], strict=True))
    if _name(node).startswith(_ADAPTIVE):
        if all(after == 1 for _, after in sizes):
            return rank == 2
        return rank == 2 and all(before % after == 0 for before, after in sizes)
    if rank == 3:
        return False
    factors = node.args[-1] if isinstance(node.args[-1], list | tuple) else None
    if node.target in _NEAREST:
        whole = all(after % before == 0 for before, after in sizes)
        return whole and (factors is None or _follow(sizes, factors))
    plain = _name(node) in ("upsample_linear1d", "upsample_bilinear2d")
    return plain and (factors is None or node.args[2] is True or _follow(sizes, factors))


def _follow(sizes: list[tuple[int, int]], factors: Any) -> bool:
    """Whether the sizes alone say what the factors do."""
    return all(after == before * f for (before, after), f in zip(sizes, factors, strict=True))


def _written_out(program: ExportedProgram, node: fx.Node, shape: tuple[int, ...]) -> fx.Node:
    graph = program.graph_module.graph
    rank = _rank(node)
    x: Any = node.args[0]
    for axis in range(rank):
        dim = len(shape) - rank + axis
        matrix = _matrix(node, axis, shape[dim])
        if torch.equal(matrix, torch.eye(shape[dim], dtype=matrix.dtype)):
            continue
        name = f"{node.name}_{axis}"
        if node.target in _NEAREST:
            index = add_constant(program, name, matrix.argmax(1))
            with graph.inserting_before(node):
                x = emit(graph, _ATEN.index_select.default, x, dim, index)
            continue
        last = dim == len(shape) - 1
        held = (matrix.T if last else matrix).to(node.meta["val"].dtype)
        constant = add_constant(program, name, held)
        with graph.inserting_before(node):
            x = _product(graph, x, constant, dim, len(shape))
    if x is node.args[0]:
        with graph.inserting_before(node):
            x = emit(graph, _ATEN.view.default, x, list(shape))
    return x  # type: ignore[no-any-return]


def _product(graph: fx.Graph, x: fx.Node, matrix: fx.Node, dim: int, rank: int) -> fx.Node:
    """`matrix` along a dimension: from the right along the last, from the left along another."""
    if dim == rank - 1:
        return emit(graph, _ATEN.matmul.default, x, matrix)
    if dim == rank - 2:
        return emit(graph, _ATEN.matmul.default, matrix, x)
    order = list(range(rank))
    order[dim], order[-2] = order[-2], order[dim]
    moved = emit(graph, _ATEN.permute.default, x, order)
    return emit(
        graph, _ATEN.permute.default, emit(graph, _ATEN.matmul.default, matrix, moved), order
    )


def _matrix(node: fx.Node, axis: int, size: int) -> Tensor:
    """(m, n) float64: what the operator makes along `axis` of the n unit vectors."""
    rank = _rank(node)
    source: list[int] = list(node.args[0].meta["val"].shape[-rank:])  # type: ignore[union-attr]
    # All other axes hold one element that stays one, if the operator leaves one element alone.
    shape = [size, 1, *(size if other == axis else source[other] for other in range(rank))]
    units = torch.eye(size, dtype=torch.float64)
    view = [size, 1, *(size if other == axis else 1 for other in range(rank))]
    x = units.reshape(view).expand(shape)
    assert isinstance(node.target, torch._ops.OpOverload)
    # Constant along the other axes, and every row of every matrix sums to one: any place will do.
    result = node.target(x, *node.args[1:])
    place = (slice(None), 0, *(slice(None) if other == axis else 0 for other in range(rank)))
    columns: Tensor = result[place]
    return columns.T.contiguous()


def _rank(node: fx.Node) -> int:
    assert isinstance(node.target, torch._ops.OpOverload)
    return _LINEAR.get(node.target) or _NEAREST[node.target]


def _name(node: fx.Node) -> str:
    assert isinstance(node.target, torch._ops.OpOverload)
    name: str = node.target.name()
    return name.removeprefix("aten::").split(".")[0]
