"""Multiply-accumulates of ONNX operations; what counts is what counts in `coreml.macs`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ..coreml.macs import einsum_macs
from ..coreml.work import Work, either, total
from .onnx_graph import subgraphs

Shapes = Mapping[str, tuple[int, ...]]
"""Of the values whose shape is known, by name."""
Constants = Mapping[str, Any]
"""Tensors with few elements, by name."""
_RUNTIME = "com.microsoft"


def graph_work(graph: Any, shapes: Shapes, constants: Constants) -> Work:
    """All its operations, one of the branches of each If, and every round of each loop."""
    return total(_work(node, shapes, constants) for node in graph.node)


def _work(node: Any, shapes: Shapes, constants: Constants) -> Work:
    if node.op_type == "Constant":
        return Work()
    inner = [graph_work(graph, shapes, constants) for graph in subgraphs(node)]
    if not inner:
        return Work.of(node_macs(node, shapes))
    if node.op_type == "If":
        return either(inner)
    if node.op_type == "Scan":
        return total(inner).times(_scanned(node, shapes))
    return total(inner).times(_rounds(node, constants) if node.op_type == "Loop" else None)


def _rounds(node: Any, constants: Constants) -> int | None:
    """Of a Loop that nothing can end early."""
    names = [*node.input[:2], "", ""]
    body = next(iter(subgraphs(node)))
    if names[0] not in constants or (names[1] and not _truth(constants.get(names[1]))):
        return None
    kept = body.output[0].name if body.output else ""
    passed = {name for name in (body.input[1].name if len(body.input) > 1 else "",) if name}
    for inner in body.node:
        if inner.op_type == "Identity" and inner.input[0] in passed:
            passed.add(inner.output[0])
    if kept not in passed and not _truth(constants.get(kept)):
        return None
    values = _integers(constants[names[0]])
    return max(values[0], 0) if len(values) == 1 else None


def _integers(tensor: Any) -> list[int]:
    """Values of a whole-number tensor."""
    if tensor.int64_data:
        return list(tensor.int64_data)
    data = tensor.raw_data
    return [int.from_bytes(data, "little", signed=True)] if len(data) == 8 else []


def _truth(tensor: Any) -> bool:
    if tensor is None:
        return False
    return any(tensor.raw_data) or any(tensor.int32_data)


def _scanned(node: Any, shapes: Shapes) -> int | None:
    """The length of the axis that a Scan goes along."""
    count = _attribute(node, "num_scan_inputs")
    axes = next((list(a.ints) for a in node.attribute if a.name == "scan_input_axes"), [])
    names = node.input[len(node.input) - count :]
    if not names or names[0] not in shapes:
        return None
    shape, axis = shapes[names[0]], axes[0] if axes else 0
    return shape[axis] if -len(shape) <= axis < len(shape) else None


def node_macs(node: Any, shapes: Shapes) -> int | None:
    """None where shapes are unknown, or the operator is one that is not known."""
    known, free = _OPERATORS.get(node.domain, ({}, frozenset()))
    count = known.get(node.op_type)
    if count is None:
        counts_nothing = node.op_type in free or (node.domain in _STANDARD and not _has_body(node))
        return 0 if counts_nothing else None
    try:
        return count(node, shapes)
    except (KeyError, IndexError, ValueError, StopIteration):
        return None


def _has_body(node: Any) -> bool:
    """Whether it would compute what its body says, which is then missing."""
    return node.op_type in ("If", "Loop", "Scan", "SequenceMap")


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


def _fused_matmul(node: Any, shapes: Shapes) -> int:
    """Of transposed factors too, whose result has the size that their own axes say."""
    a, b = shapes[node.input[0]], shapes[node.input[1]]
    inner, rows = (a[-2], a[-1]) if _attribute(node, "transA") else (a[-1], a[-2])
    columns = b[-2] if _attribute(node, "transB") else b[-1]
    batch = math.prod(max(sizes) for sizes in _aligned(a[:-2], b[:-2]))
    return batch * rows * inner * columns


def _aligned(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, int]]:
    length = max(len(a), len(b))
    a, b = ((1,) * (length - len(shape)) + shape for shape in (a, b))
    return list(zip(a, b, strict=True))


def _few_bits(node: Any, shapes: Shapes) -> int:
    """MatMulNBits, whose packed weight is (N, blocks, bytes)."""
    return math.prod(shapes[node.input[0]][:-1]) * _attribute(node, "K") * _attribute(node, "N")


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


def _attention(node: Any, shapes: Shapes) -> int:
    """Scores, then their product with the values.

    Tensors are (batch, heads, length, size), or (batch, length, heads * size) with the heads as
    attributes; earlier keys, where they are given, are put before the new ones.
    """
    query, key, value = (shapes[node.input[i]] for i in range(3))
    earlier = shapes[node.input[4]][-2] if len(node.input) > 4 and node.input[4] else 0
    length = key[-2] + earlier
    if len(query) == 4:
        return math.prod(query[:-1]) * length * (query[-1] + value[-1])
    heads, groups = _attribute(node, "q_num_heads"), _attribute(node, "kv_num_heads")
    own = heads * (value[-1] // groups) if groups else value[-1]
    return math.prod(query[:-1]) * length * (query[-1] + own)


_COUNTS: dict[str, Callable[[Any, Shapes], int]] = {
    "Conv": _kernel(1),
    "ConvInteger": _kernel(1),
    "DeformConv": _kernel(1),
    "QLinearConv": _kernel(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Attention": _attention,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
_RUNTIME_COUNTS: dict[str, Callable[[Any, Shapes], int]] = {
    "FusedConv": _kernel(1),
    "FusedGemm": _gemm,
    "QGemm": _gemm,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "MatMulIntegerToFloat": _matmul,
    "DynamicQuantizeMatMul": _matmul,
    "MatMulNBits": _few_bits,
}
_FREE = frozenset({
    "QLinearAdd", "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat",
    "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearReduceMean", "QLinearWhere",
    "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization", "BiasAdd", "BiasSoftmax", "QuantizeLinear",
    "DequantizeLinear", "RotaryEmbedding", "Trilu", "NhwcMaxPool", "GroupNorm", "Pad",
})  # fmt: skip
"""Operators of ONNX Runtime that multiply no matrices."""
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
_OPERATORS: dict[str, tuple[dict[str, Callable[[Any, Shapes], int]], frozenset[str]]] = {
    **dict.fromkeys(_STANDARD, (_COUNTS, frozenset[str]())),
    _RUNTIME: (_RUNTIME_COUNTS, _FREE),
}
"""By domain: those that count, and those that do not."""
