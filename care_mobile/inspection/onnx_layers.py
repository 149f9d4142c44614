"""Operations of an ONNX graph as layers: which weights belong to which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .onnx_graph import operations, operator
from .onnx_macs import Shapes, node_macs
from .onnx_weights import is_weight, stored_bytes
from .results import Layer

_CARRIERS = frozenset({
    "DequantizeLinear", "QuantizeLinear", "Transpose", "Reshape", "Identity", "Cast", "Squeeze",
    "Unsqueeze", "Flatten",
})  # fmt: skip
"""Operators that only hand a stored weight on to the one that uses it."""
_SCALES: dict[str, tuple[int, ...]] = {
    "DequantizeLinear": (1, 2),
    "QuantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "DynamicQuantizeMatMul": (2, 3),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "MatMulNBits": (2, 3),
    "QLinearAdd": (1, 2, 4, 5, 6, 7),
    "QLinearMul": (1, 2, 4, 5, 6, 7),
}
"""Inputs that say how others are quantized: stored, and no parameters of the network."""
_WIDE: dict[str, tuple[int, ...]] = {
    "DequantizeLinear": (0,), "QLinearConv": (8,), "QGemm": (6,),
}  # fmt: skip
"""Inputs that are weights although they are 32-bit integers: quantized biases."""
_NBITS = "MatMulNBits"


class Weights:
    """The stored weights of a graph by name.

    Args:
        nodes: all that use them.
    """

    def __init__(self, tensors: Iterable[Any], nodes: Iterable[Any]) -> None:
        used = list(nodes)
        wide = _at(used, _WIDE)
        self._scales = _at(used, _SCALES)
        self.tensors = {
            tensor.name: tensor
            for tensor in tensors
            if is_weight(tensor) or (tensor.dims and tensor.name in wide)
        }
        self._packed = {
            node.input[1]: _attribute(node, "K") * _attribute(node, "N")
            for node in used
            if node.op_type == _NBITS and len(node.input) > 1
        }

    def parameters(self, name: str) -> int:
        """Numbers that a network has in it: none in the scales of others."""
        if name in self._scales:
            return 0
        elements: int = math.prod(self.tensors[name].dims)
        return self._packed.get(name, elements)

    def total(self) -> int:
        return sum(map(self.parameters, self.tensors))


def _at(nodes: Iterable[Any], places: Mapping[str, tuple[int, ...]]) -> set[str]:
    """Names of the inputs at those places of those operators."""
    return {
        node.input[place]
        for node in nodes
        for place in places.get(node.op_type, ())
        if place < len(node.input) and node.input[place]
    }


def _attribute(node: Any, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def layers(graph: Any, weights: Weights, shapes: Shapes) -> list[Layer]:
    """Every operation; a weight counts for the first that computes with it."""
    unclaimed = set(weights.tensors)
    carried: dict[str, set[str]] = {}
    found = []
    for node in operations(graph):
        own = {name for name in node.input if name in weights.tensors}
        own |= {name for value in node.input for name in carried.get(value, ())}
        if node.op_type in _CARRIERS and node.output and _is_stored(node, weights, carried):
            carried[node.output[0]] = own
            own = set()
        own &= unclaimed
        unclaimed -= own
        found.append(_layer(node, own, weights, shapes))
    return found


def _is_stored(node: Any, weights: Weights, carried: Mapping[str, set[str]]) -> bool:
    """Whether what a carrier hands on is a weight, not a value that was computed."""
    return bool(node.input) and (node.input[0] in weights.tensors or node.input[0] in carried)


def _layer(node: Any, own: set[str], weights: Weights, shapes: Shapes) -> Layer:
    return Layer(
        name=node.name or (node.output[0] if node.output else node.op_type),
        operator=operator(node),
        bytes=sum(stored_bytes(weights.tensors[name]) for name in own),
        parameters=sum(map(weights.parameters, own)),
        macs=0 if any(a.HasField("g") for a in node.attribute) else node_macs(node, shapes),
    )
