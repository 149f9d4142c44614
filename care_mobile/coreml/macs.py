"""Multiply-accumulates and parameters of an ML Program's operations.

One multiply-accumulate is a multiplication and an addition of a convolution or a matrix product;
elementwise work, pooling and normalization count nothing, as in PyTorch's counter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from .program import Block, Constant, Operation, Ref
from .types import FLOATS, TensorType, ValueType
from .work import Work, either, total

Types = Mapping[str, ValueType]
"""Type of every value that is not a constant, by name: `Function.types()`."""
Shape = tuple[int, ...]

DECOMPRESS = "constexpr_"
"""Operators with this prefix unpack compressed weights; Core ML evaluates them when it loads."""


def block_work(block: Block, types: Types) -> Work:
    """All its operations, one of the branches of each `cond` and one round of each loop."""
    return total(_work(operation, types) for operation in block.operations)


def _work(operation: Operation, types: Types) -> Work:
    if not operation.bodies:
        return Work.of(operation_macs(operation, types))
    bodies = [block_work(body, types) for body in operation.bodies]
    return either(bodies) if operation.type == "cond" else total(bodies).times(None)


def operation_macs(operation: Operation, types: Types) -> int | None:
    """Multiply-accumulates of one operation; None where a shape is not known.

    Those of nested blocks belong to the operations there.
    """
    count = _COUNTS.get(operation.type)
    if count is None:
        return 0
    try:
        return count(operation, types)
    except (_UnknownShapeError, IndexError, KeyError, TypeError, ValueError):
        return None  # shapes that do not belong together are no business of a counter


def weights(operation: Operation) -> Iterator[Constant]:
    """The constants that hold its parameters: floats with at least one axis.

    Scalars (an epsilon, a slope) are part of the formula, integers say how to compute. Of an
    operation that decompresses, every constant with an axis is part of the stored weights.
    """
    compressed = operation.type.startswith(DECOMPRESS)
    for name, operands in operation.inputs.items():
        for operand in operands if not (compressed and name == "shape") else ():
            if isinstance(operand, Constant) and isinstance(operand.type, TensorType):
                is_weight = operand.type.dtype in FLOATS or (
                    compressed and operand.type.dtype != "string"
                )
                if is_weight and operand.type.shape:
                    yield operand


def operation_parameters(operation: Operation) -> int:
    """Numbers the operation takes from the file; of compressed weights, how many they become."""
    if operation.type.startswith(DECOMPRESS):
        sizes = [_elements(named.type) for named in operation.outputs]
    else:
        sizes = [_elements(constant.type) for constant in weights(operation)]
    return sum(sizes)


def distinct_weights(operations: Iterable[Operation]) -> Iterator[Constant]:
    """Every stored weight once, however many operations use it or constants share its place."""
    seen: set[object] = set()
    for operation in operations:
        for constant in weights(operation):
            key = constant.blob or constant.name
            if not key or key not in seen:
                seen.add(key)
                yield constant


def block_parameters(block: Block) -> int:
    """Numbers in the file; of compressed weights, how many they become."""
    operations = list(block.walk())
    plain = [op for op in operations if not op.type.startswith(DECOMPRESS)]
    packed = [op for op in operations if op.type.startswith(DECOMPRESS)]
    found = sum(_elements(constant.type) for constant in distinct_weights(plain))
    return found + sum(map(operation_parameters, packed))


def _elements(kind: ValueType) -> int:
    if not isinstance(kind, TensorType) or kind.shape is None or None in kind.shape:
        return 0
    return math.prod(size or 0 for size in kind.shape)


class _UnknownShapeError(Exception):
    pass


def _shape(operation: Operation, parameter: str, types: Types) -> Shape:
    (operand,) = operation.inputs[parameter]
    return _static(types[operand.name] if isinstance(operand, Ref) else operand.type)


def _static(kind: ValueType) -> Shape:
    if not isinstance(kind, TensorType) or kind.shape is None:
        raise _UnknownShapeError
    sizes = tuple(size for size in kind.shape if size is not None)
    if len(sizes) < len(kind.shape):
        raise _UnknownShapeError
    return sizes


def _output(operation: Operation) -> int:
    return math.prod(_static(operation.outputs[0].type))


def _conv(operation: Operation, types: Types) -> int:
    """Per output element, one kernel over the channels of its group: weight (O, C/groups, *k)."""
    return _output(operation) * math.prod(_shape(operation, "weight", types)[1:])


def _conv_transpose(operation: Operation, types: Types) -> int:
    """Per input element, one kernel to the channels of its group: weight (C, O/groups, *k)."""
    inputs = math.prod(_shape(operation, "x", types))
    return inputs * math.prod(_shape(operation, "weight", types)[1:])


def _linear(operation: Operation, types: Types) -> int:
    return _output(operation) * _shape(operation, "weight", types)[-1]


def _matmul(operation: Operation, types: Types) -> int:
    x = _shape(operation, "x", types)
    flag = operation.constant("transpose_x")
    transposed = flag is not None and bool(np.asarray(flag).reshape(())) and len(x) > 1
    return _output(operation) * x[-2 if transposed else -1]


def _einsum(operation: Operation, types: Types) -> int:
    equation = str(np.asarray(operation.constant("equation")).reshape(()))
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    shapes = [
        _static(types[operand.name] if isinstance(operand, Ref) else operand.type)
        for operand in operation.inputs["values"]
    ]
    return einsum_macs(terms, shapes)


def einsum_macs(terms: list[str], shapes: list[Shape]) -> int:
    """The product of all its axes, each counted once.

    Raises:
        ValueError: if the terms do not fit the shapes; an ellipsis never does.
    """
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return math.prod(sizes.values())


def _attention(operation: Operation, types: Types) -> int:
    """Scores of (..., L, E) with (..., S, E), then their product with (..., S, V)."""
    query, value = (_shape(operation, name, types) for name in ("query", "value"))
    return math.prod(query[:-1]) * value[-2] * (query[-1] + value[-1])


def _recurrent(operation: Operation, types: Types) -> int:
    """Every weight matrix once per element of the (sequence, batch, features) input."""
    steps = math.prod(_shape(operation, "x", types)[:2])
    matrices = [name for name in operation.inputs if name.startswith("weight_")]
    return steps * sum(math.prod(_shape(operation, name, types)) for name in matrices)


_COUNTS: dict[str, Callable[[Operation, Types], int]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrent,
    "gru": _recurrent,
    "rnn": _recurrent,
}
