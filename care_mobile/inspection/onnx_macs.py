"""Multiply-accumulates of an ONNX operation; what counts is what counts in `coreml.macs`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..coreml.macs import einsum_macs

Shapes = Mapping[str, tuple[int, ...]]
"""Of the values whose shape is known, by name."""


def node_macs(node: Any, shapes: Shapes) -> int | None:
    """None where shapes are unknown, or the operator is not one of ONNX's own."""
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
        return None
    if node.op_type in _UNCOUNTED:
        return None
    count = _COUNTS.get(node.op_type)
    if count is None:
        return 0
    try:
        return count(node, shapes)
    except (KeyError, IndexError, ValueError):
        return None


def _attribute(node: Any, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def _kernel(position: int) -> Callable[[Any, Shapes], int]:
    """Per output element, one kernel of the weight (O, C/groups, *k) at input `position`."""

    def count(node: Any, shapes: Shapes) -> int:
        weight = shapes[node.input[position]]
        return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])

    return count


def _conv_transpose(node: Any, shapes: Shapes) -> int:
    """Per input element, one kernel of the weight (C, O/groups, *k)."""
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _matmul(node: Any, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: Any, shapes: Shapes) -> int:
    inner = shapes[node.input[0]][0 if _attribute(node, "transA") else 1]
    return math.prod(shapes[node.output[0]]) * inner


def _einsum(node: Any, shapes: Shapes) -> int:
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation")
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    return einsum_macs(terms, [shapes[name] for name in node.input])


def _recurrent(node: Any, shapes: Shapes) -> int:
    """Both weights once per element of the (sequence, batch, features) input."""
    steps = math.prod(shapes[node.input[0]][:2])
    return steps * sum(math.prod(shapes[node.input[i]]) for i in (1, 2))


_COUNTS: dict[str, Callable[[Any, Shapes], int]] = {
    "Conv": _kernel(1),
    "ConvInteger": _kernel(1),
    "QLinearConv": _kernel(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
_UNCOUNTED = frozenset({"Attention", "DeformConv", "If", "Loop", "Scan"})
