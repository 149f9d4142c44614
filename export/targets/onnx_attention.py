"""Queries and keys of linear attention as (heads, 2 d, positions) straight from their convolution.

A 1x1 convolution yields the rows of all queries, then those of all keys; element by element they
become positive, then they are split and each part reshaped to heads. Rows may come in any order,
so the convolution can yield them head by head::

    reshape(split(f(W a)))  =  split(reshape(f(P W a)))  =  split(f(reshape(P W a)))

One reshaping instead of two, and the element-wise f no longer reads a map, which runtimes keep in
a layout of their own and would convert for each of its operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .onnx_editing import Convolution, Graph, number, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir

_ELEMENTWISE = ("Relu", "Sub", "Exp", "Add")


@dataclass(frozen=True)
class _Attention:
    """One match: f(conv) split into halves that are reshaped to `rows` = (heads, d, positions)."""

    conv: Convolution
    f: list[ir.Node]
    split: ir.Node
    queries: ir.Node
    keys: ir.Node
    mean: ir.Node
    rows: tuple[int, int, int]


def heads_before_elementwise(graph: Graph) -> None:
    """Rewrite every attention of fixed batch one."""
    for split in graph.nodes("Split"):
        found = _match(graph, split)
        if found is not None:
            _rewrite(graph, found)
            graph.changed()


def _match(graph: Graph, split: ir.Node) -> _Attention | None:
    shape, halves = shape_of(split.inputs[0]), [shape_of(value) for value in split.outputs]
    if len(shape) != 4 or shape[0] != 1 or number(split, "axis", 0) != 1:
        return None
    f = _elementwise(graph, split)
    conv = graph.convolution(f[0].inputs[0]) if f else None
    if conv is None or not conv.is_pointwise or any(n not in f for n in _readers(conv.node)):
        return None
    if len(halves) != 2 or halves[0] != halves[1]:
        return None
    readers = [*_readers(split, 0), *sorted(_readers(split, 1), key=lambda node: node.op_type)]
    if [node.op_type for node in readers] != ["Reshape", "ReduceMean", "Reshape"]:
        return None
    queries, mean, keys = readers
    rows = _rows(graph, queries, keys, positions=shape[2] * shape[3])
    if rows is None or not _is_over_positions(graph, mean):
        return None
    return _Attention(conv, f, split, queries, keys, mean, rows)


def _rows(
    graph: Graph, queries: ir.Node, keys: ir.Node, positions: int
) -> tuple[int, int, int] | None:
    """The shape that both are given, if it is one of heads."""
    one, other = (graph.constant(node.inputs[1]) for node in (queries, keys))
    if one is None or other is None or one.tolist() != other.tolist() or len(one) != 3:
        return None
    heads, d, last = (int(n) for n in one)
    return (heads, d, last) if min(heads, d) > 0 and last == positions else None


def _is_over_positions(graph: Graph, mean: ir.Node) -> bool:
    axes = graph.constant(mean.inputs[1]) if len(mean.inputs) > 1 else None
    over = axes is not None and sorted(axes % 4) == [2, 3]
    return over and number(mean, "keepdims", 1) == 1


def _elementwise(graph: Graph, split: ir.Node) -> list[ir.Node]:
    """The operators of f in order, ending at `split`; none if something else reads in between."""
    found: list[ir.Node] = []
    pending = [split.inputs[0]]
    while pending:
        node = graph.made_by(pending.pop(), *_ELEMENTWISE)
        if node is not None and node not in found:
            found.append(node)
            pending += node.inputs
    found.sort(key=graph.graph.index)
    allowed = [*found, split]
    closed = all(reader in allowed for node in found for reader in _readers(node))
    sources = {v for n in found for v in n.inputs if v is not None and v.producer() not in found}
    return found if closed and len(sources) == 1 else []


def _readers(node: ir.Node, index: int = 0) -> list[ir.Node]:
    return [use.node for use in node.outputs[index].uses()]


def _rewrite(graph: Graph, found: _Attention) -> None:
    import onnx_ir as ir

    heads, d, positions = found.rows
    old = found.conv.node
    name = str(old.outputs[0].name)
    order = np.arange(2 * heads * d).reshape(2, heads, d).transpose(1, 0, 2).reshape(-1)
    inputs = [
        found.conv.source,
        graph.weights(f"{name}_heads.weight", found.conv.weight[order]),
        graph.weights(f"{name}_heads.bias", found.conv.bias[order]),
    ]
    shape = shape_of(old.outputs[0])
    kernel = {"kernel_shape": [1, 1]}
    (conv,) = graph.add(old, "Conv", inputs, f"{name}_heads", kernel, [shape], [old])
    lengths = graph.weights(f"{name}_rows_shape", np.array([heads, 2 * d, positions], np.int64))
    full = (heads, 2 * d, positions)
    (rows,) = graph.add(old, "Reshape", [conv, lengths], f"{name}_rows", None, [full])
    graph.replace(old.outputs[0], rows)
    for node in found.f:
        node.outputs[0].shape = ir.Shape(full)
    sizes = graph.weights(f"{name}_sizes", np.array([d, d], np.int64))
    source = found.split.inputs[0]
    assert source is not None
    q, k = graph.add(
        found.split, "Split", [source, sizes], f"{name}_qk", {"axis": 1}, [found.rows] * 2
    )
    axes = graph.weights(f"{name}_axes", np.array([2], np.int64))
    (mean,) = graph.add(found.split, "ReduceMean", [k, axes], f"{name}_mean", None, [(heads, d, 1)])
    graph.replace(found.mean.outputs[0], mean)
    graph.replace(found.queries.outputs[0], q)
    graph.replace(found.keys.outputs[0], k)
