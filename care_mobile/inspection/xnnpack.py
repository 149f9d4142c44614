"""Payloads of ExecuTorch's XNNPACK delegate: a header, then a flatbuffer.

Slots and numbers are those of `backends/xnnpack/serialization/schema.fbs` in executorch, which
only ever appends to them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..coreml.work import Work, total
from .flatbuffer import Table
from .partition import Partition, Weight
from .results import Layer

BACKEND = "XnnpackBackend"
_HEADER = struct.Struct("<4x4sHII")
_OPERATORS = (
    "Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div",
    "StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d",
    "MaxPooling2d", "Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d",
    "StaticReshape", "ArgMaxPooling2d", "SquareRoot", "Ceiling", "Hardswish", "LeakyReLU",
    "Maximum", "Negate", "Square", "ELU", "Abs", "PReLU", "Concatenate2", "Concatenate3",
    "Concatenate4", "StaticSlice", "ScaledDotProductAttention", "BatchMatrixMultiply",
    "Concatenate5", "ConvTranspose2d", "ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp",
    "Sin", "Copy", "Cos",
)  # fmt: skip
_DTYPES = {
    1: ("fp32", 32), 2: ("fp16", 16), 3: ("int8", 8), 4: ("uint8", 8), 5: ("int32", 32),
    6: ("int8", 8), 7: ("int32", 32), 8: ("int4", 4), 9: ("int8", 8), 10: ("int4", 4),
    11: ("int8", 8), 12: ("int32", 32), 13: ("fp32", 32), 14: ("bf16", 16),
}  # fmt: skip
_CONV_INPUT, _CONV_FILTER, _CONV_BIAS, _CONV_OUTPUT = 15, 16, 17, 18


@dataclass(frozen=True)
class Tensor:
    """`constant` is 0 for values that are computed."""

    dtype: str
    bits: int
    shape: tuple[int, ...]
    constant: int


def read_partition(data: bytes | memoryview, name: str) -> Partition | None:
    """What one payload holds; None if it is not of the kind described here."""
    try:
        mark, _, start, size = _HEADER.unpack_from(data)
        if mark != b"XH00":
            return None
        return _read(data[start : start + size], name)
    except (struct.error, IndexError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _read(data: bytes | memoryview, name: str) -> Partition:
    graph = Table.root(data)
    tensors = dict(_tensors(graph))
    keys = [entry.text(2) for entry in graph.tables(7)]
    layers = []
    used: dict[int, Tensor] = {}
    for index, node in enumerate(graph.tables(1)):
        kind = node.scalar(0, "B")
        operator = _OPERATORS[kind - 1] if 0 < kind <= len(_OPERATORS) else f"operator {kind}"
        body = node.table(1)
        read = [tensors[i] for i in _inputs(operator, body) if i in tensors]
        own = {t.constant: t for t in read if t.constant and t.constant not in used}
        used |= own
        layers.append(
            Layer(
                name=f"{name}, {index}",
                operator=operator,
                bytes=sum(_bytes(t) for t in own.values()),
                parameters=sum(math.prod(t.shape) for t in own.values()),
                macs=_macs(operator, body, tensors),
            )
        )
    used |= {t.constant: t for t in tensors.values() if t.constant and t.shape}
    weights = tuple(_weight(tensor, keys) for tensor in used.values())
    return Partition(tuple(layers), weights, total(Work.of(layer.macs) for layer in layers))


def _weight(tensor: Tensor, keys: list[str]) -> Weight:
    """Data with a key are in the file once, however many partitions use them."""
    key = keys[tensor.constant] if tensor.constant < len(keys) else ""
    elements = math.prod(tensor.shape)
    return Weight(tensor.dtype, elements, _bytes(tensor), key or tensor.constant, bool(key))


def _tensors(graph: Table) -> Iterator[tuple[int, Tensor]]:
    for value in graph.tables(2):
        body = value.table(1)
        if value.scalar(0, "B") == 2:  # quantized: the tensor is inside
            body = body.table(0)
        dtype, bits = _DTYPES.get(body.scalar(0, "h"), ("other", 0))
        yield body.scalar(6, "I"), Tensor(dtype, bits, body.integers(2), body.scalar(3, "I"))


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * tensor.bits // 8


def _inputs(operator: str, body: Table) -> list[int]:
    """Values of a node that may be weights."""
    if operator in _CONVOLUTIONS:
        slots: tuple[int, ...] = (_CONV_FILTER, _CONV_BIAS)
    elif operator == "FullyConnected":
        slots = (1, 2)
    elif operator in _BINARY:
        slots = (0, 1)
    elif operator.startswith("Concatenate"):
        slots = (1, 2, 3, 4, 7)[: int(operator[-1])]
    elif operator == "ScaledDotProductAttention":
        slots = (0, 1, 2, 3, 4)
    else:
        return []
    return [body.scalar(slot, "I") for slot in slots]


def _macs(operator: str, body: Table, tensors: dict[int, Tensor]) -> int | None:
    """Multiply-accumulates; XNNPACK keeps images as (N, H, W, C)."""
    count = _COUNTS.get(operator)
    if count is None:
        return None if operator.startswith("operator") else 0

    def shape(slot: int) -> tuple[int, ...]:
        return tensors[body.scalar(slot, "I")].shape

    try:
        return count(body, shape)
    except (KeyError, IndexError):
        return None


Shape = Callable[[int], tuple[int, ...]]
"""Shape of the value whose number is in a slot."""


def _conv(body: Table, shape: Shape) -> int:
    kernel = body.scalar(4, "I") * body.scalar(5, "I")
    return math.prod(shape(_CONV_OUTPUT)) * kernel * body.scalar(10, "I")


def _conv_transpose(body: Table, shape: Shape) -> int:
    kernel = body.scalar(4, "I") * body.scalar(5, "I")
    return math.prod(shape(_CONV_INPUT)) * kernel * body.scalar(11, "I")


def _attention(_: Table, shape: Shape) -> int:
    query, value = shape(0), shape(2)
    return math.prod(query[:-1]) * value[-2] * (query[-1] + value[-1])


_BINARY = frozenset({
    "Add", "Div", "Minimum", "Multiply", "Subtract", "Maximum", "PReLU", "BatchMatrixMultiply",
})  # fmt: skip
_CONVOLUTIONS = ("Conv2d", "DepthwiseConv2d", "ConvTranspose2d")
_COUNTS: dict[str, Callable[[Table, Shape], int]] = {
    "Conv2d": _conv,
    "DepthwiseConv2d": _conv,
    "ConvTranspose2d": _conv_transpose,
    "FullyConnected": lambda _, shape: math.prod(shape(3)) * shape(0)[-1],
    "BatchMatrixMultiply": lambda _, shape: math.prod(shape(2)) * shape(0)[-1],
    "ScaledDotProductAttention": _attention,
}
