"""The pattern of a CARE block in an ONNX graph::

    memory, parts = Split(x)
    F = Concat(branches of the parts)
    R = W2 h(W1 F) + F
    G = Concat(memory, R)

Two rewrites look for it; what they do not understand they leave alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .onnx_editing import Convolution, Graph, channels_of, number, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Block:
    """One match. `sizes` are the channels of x's groups: the memory, then one per branch."""

    split: ir.Node
    sizes: tuple[int, ...]
    features: ir.Node
    widen: Convolution
    narrow: Convolution
    total: ir.Node
    joined: ir.Node

    @property
    def x(self) -> ir.Value:
        value = self.split.inputs[0]
        assert value is not None
        return value

    @property
    def groups(self) -> tuple[ir.Value, ...]:
        return tuple(self.split.outputs)

    @property
    def branches(self) -> list[ir.Value]:
        return [value for value in self.features.inputs if value is not None]


def blocks(graph: Graph) -> list[Block]:
    """Every block of the graph, in order."""
    found = [_block(graph, node) for node in graph.nodes("Concat")]
    return [block for block in found if block is not None]


def _block(graph: Graph, joined: ir.Node) -> Block | None:
    if number(joined, "axis", 0) != 1 or len(joined.inputs) != 2:
        return None
    memory, rest = joined.inputs
    split, total = graph.made_by(memory, "Split"), graph.made_by(rest, "Add")
    if split is None or total is None or graph.only_reader(rest) is None:
        return None
    if number(split, "axis", 0) != 1 or split.outputs[0] is not memory:
        return None
    sizes = tuple(channels_of(group) for group in split.outputs)
    for result, features in (total.inputs, total.inputs[::-1]):
        narrow, concat = graph.convolution(result), graph.made_by(features, "Concat")
        if narrow is None or concat is None or number(concat, "axis", 0) != 1:
            continue
        widen = _reader(graph, features, total)
        if widen is None or not narrow.is_pointwise or graph.only_reader(result) is None:
            continue
        if graph.only_reader(memory) is None or 0 in sizes:
            continue
        if shape_of(features)[2:] == shape_of(split.inputs[0])[2:]:
            return Block(split, sizes, concat, widen, narrow, total, joined)
    return None


def _reader(graph: Graph, features: ir.Value | None, total: ir.Node) -> Convolution | None:
    """The 1x1 convolution that alone reads `features` beside `total`."""
    assert features is not None
    readers = [use.node for use in features.uses() if use.node is not total]
    if len(readers) != 1 or features.is_graph_output():
        return None
    conv = graph.convolution(readers[0].outputs[0])
    return conv if conv is not None and conv.is_pointwise and conv.source is features else None
