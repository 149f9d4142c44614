"""Shapes of a program's values, worked out from those of its inputs.

The interpreter's own kernels run on zeros, so that every operator keeps the one definition it has
here; only products and convolutions, whose cost is in their arithmetic, have rules for their shape.
What depends on values that are not known (the rows that are not zero) stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..coreml import Constant, Function, Named, Operand, Operation, TensorType
from ..coreml.types import FLOATS, NUMPY
from ..runtimes.interpreter.kernels import KERNELS
from ..runtimes.interpreter.numerics import Numerics
from ..runtimes.interpreter.registry import Arguments

_OPSETS = {"CoreML5": 5, "CoreML6": 6, "CoreML7": 7, "CoreML8": 8}
_MOST_ELEMENTS = 2**26
"""Of one operation's results; what is larger would take minutes and is left unknown."""
_DEPENDS_ON_VALUES = frozenset({"non_zero", "non_maximum_suppression", "classify"})
_SHAPE_PARAMETERS = frozenset({
    "shape", "reps", "begin", "end", "size", "start", "step", "stride", "strides", "pad", "axes",
    "k", "perm", "split_sizes", "output_shape", "one_hot_vector_size", "sizes", "axis",
    "target_size_height", "target_size_width", "scale_factor_height", "scale_factor_width",
    "crop_height", "crop_width", "target_height", "target_width", "kernel_sizes",
})  # fmt: skip
"""Parameters whose values decide the shape of the result."""


@dataclass(frozen=True)
class _Value:
    """`array` has the right shape and type; its values are right if it is `known`."""

    array: Any
    known: bool


def propagate(main: Function) -> Function:
    """The function with the shapes that follow from those of its inputs."""
    opset = _OPSETS.get(main.opset, max(_OPSETS.values()))
    values: dict[str, _Value] = {}
    for named in main.inputs:
        _remember(values, named, _zeros(named))
    operations = []
    for operation in main.operations:
        found = _run(operation, values, opset)
        outputs = []
        for named, value in zip(operation.outputs, found, strict=True):
            own = _settled(named, value)
            outputs.append(own)
            fits = value is not None and own.type == _type(own, value)
            _remember(values, own, value if fits else _zeros(own))
        operations.append(replace(operation, outputs=tuple(outputs)))
    return replace(main, operations=tuple(operations))


def _remember(values: dict[str, _Value], named: Named, value: _Value | None) -> None:
    if value is not None:
        values[named.name] = value


def _zeros(named: Named) -> _Value | None:
    """Zeros that take no memory; None where the shape is not known or too large to compute with."""
    kind = named.type
    if not isinstance(kind, TensorType) or kind.shape is None or None in kind.shape:
        return None
    shape = tuple(size or 0 for size in kind.shape)
    if kind.dtype not in NUMPY or math.prod(size or 1 for size in shape) > _MOST_ELEMENTS:
        return None
    dtype = np.float32 if kind.dtype in FLOATS else NUMPY[kind.dtype]
    return _Value(np.broadcast_to(np.zeros((), dtype), shape), known=False)


def _settled(named: Named, value: _Value | None) -> Named:
    """With its shape, where it is one that the file allows."""
    kind = named.type
    if value is None or not isinstance(kind, TensorType):
        return named
    found = _type(named, value)
    if kind.shape is not None and (
        len(kind.shape) != len(found.shape or ())
        or any(a not in (None, b) for a, b in zip(kind.shape, found.shape or (), strict=True))
    ):
        return named
    return replace(named, type=found)


def _type(named: Named, value: _Value) -> TensorType:
    assert isinstance(named.type, TensorType)
    return TensorType(named.type.dtype, tuple(np.shape(value.array)))


def _run(operation: Operation, values: Mapping[str, _Value], opset: int) -> list[_Value | None]:
    """The results of one operation; None for those whose shape is not known."""
    stated = [_zeros(named) for named in operation.outputs]
    if all(value is not None and value.array.dtype.kind == "f" for value in stated):
        return stated  # whole numbers may decide a shape further on, so they are computed
    try:
        found = _compute(operation, values, opset)
    except Exception:  # shapes that do not belong together break a kernel in any way
        found = []
    return [*found] if len(found) == len(stated) else [None] * len(stated)


def _compute(operation: Operation, values: Mapping[str, _Value], opset: int) -> list[_Value]:
    """Nothing where the shape of the results is not known."""
    if operation.type in _RULES:
        return [_Value(_blank(_RULES[operation.type](_Inputs(operation, values))), False)]
    if not _has_shape(operation):
        return []
    given = {
        name: [_read(operand, values) for operand in operands]
        for name, operands in operation.inputs.items()
    }
    known = all(value.known for operands in given.values() for value in operands)
    deciding = [value for name in _SHAPE_PARAMETERS & set(given) for value in given[name]]
    if not all(value.known for value in deciding):
        return []
    arrays = {name: [value.array for value in operands] for name, operands in given.items()}
    with np.errstate(all="ignore"):
        results = KERNELS[operation.type](Arguments(operation, arrays, Numerics.DECLARED, opset))
    known = known or operation.type == "shape"
    outputs = results if isinstance(results, tuple) else (results,)
    return [_Value(output if known else _blank_like(output), known) for output in outputs]


def _has_shape(operation: Operation) -> bool:
    """Whether there is a kernel whose results have shapes that follow from those of its inputs."""
    return (
        not operation.bodies
        and operation.type in KERNELS
        and operation.type not in _DEPENDS_ON_VALUES
        and all(isinstance(named.type, TensorType) for named in operation.outputs)
    )


def _blank(shape: tuple[int, ...]) -> Any:
    if math.prod(size or 1 for size in shape) > _MOST_ELEMENTS:
        raise ValueError("too large to compute with")
    return np.broadcast_to(np.zeros((), np.float32), shape)


def _blank_like(output: Any) -> Any:
    array = np.asarray(output)
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


def _read(operand: Operand, values: Mapping[str, _Value]) -> _Value:
    if not isinstance(operand, Constant):
        return values[operand.name]
    value = operand.value
    if isinstance(operand.type, TensorType) and operand.type.dtype in FLOATS:
        value = np.asarray(value, np.float32)
    return _Value(value, known=True)


class _Inputs:
    """What rules read of an operation; weights are not loaded."""

    def __init__(self, operation: Operation, values: Mapping[str, _Value]) -> None:
        self.operation = operation
        self._values = values

    def shape(self, name: str, index: int = 0) -> tuple[int, ...]:
        operand = self.operation.inputs[name][index]
        if not isinstance(operand, Constant):
            return tuple(np.shape(self._values[operand.name].array))
        assert isinstance(operand.type, TensorType)
        return tuple(size or 0 for size in operand.type.shape or ())

    def flag(self, name: str) -> bool:
        value = self.operation.constant(name)
        return value is not None and bool(np.asarray(value).reshape(()))


def _convolution(inputs: _Inputs) -> tuple[int, ...]:
    """By the kernel on one channel: only the sizes of the image depend on how it is padded."""
    x, weight = inputs.shape("x"), inputs.shape("weight")
    transposed = inputs.operation.type == "conv_transpose"
    stated = inputs.operation.constant("output_shape") if transposed else None
    groups = inputs.operation.constant("groups")
    channels = weight[0]
    if transposed:
        channels = weight[1] * (1 if groups is None else int(np.asarray(groups).reshape(())))
    if stated is not None:
        return (x[0], channels, *(int(n) for n in np.ravel(stated)[-(len(x) - 2) :]))
    left_out = ("x", "weight", "bias", "groups", "output_shape")
    arrays: dict[str, list[Any]] = {
        name: [np.asarray(inputs.operation.constant(name))]
        for name in inputs.operation.inputs
        if name not in left_out
    }
    arrays["x"] = [np.zeros((1, 1, *x[2:]), np.float32)]
    arrays["weight"] = [np.zeros((1, 1, *weight[2:]), np.float32)]
    arguments = Arguments(inputs.operation, arrays, Numerics.DECLARED, 8)
    return (x[0], channels, *np.shape(KERNELS[inputs.operation.type](arguments))[2:])


def _linear(inputs: _Inputs) -> tuple[int, ...]:
    return (*inputs.shape("x")[:-1], inputs.shape("weight")[0])


def _matmul(inputs: _Inputs) -> tuple[int, ...]:
    x, y = inputs.shape("x"), inputs.shape("y")
    if len(x) < 2 or len(y) < 2:
        raise ValueError("a product with a vector")
    rows = x[-1 if inputs.flag("transpose_x") else -2]
    columns = y[-2 if inputs.flag("transpose_y") else -1]
    return (*np.broadcast_shapes(x[:-2], y[:-2]), rows, columns)


def _einsum(inputs: _Inputs) -> tuple[int, ...]:
    equation = str(np.asarray(inputs.operation.constant("equation")).reshape(()))
    terms, _, result = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms.split(",")):
        for label, size in zip(term, inputs.shape("values", index), strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return tuple(sizes[label] for label in result)


def _attention(inputs: _Inputs) -> tuple[int, ...]:
    return (*inputs.shape("query")[:-1], inputs.shape("value")[-1])


_RULES: dict[str, Callable[[_Inputs], tuple[int, ...]]] = {
    "conv": _convolution,
    "conv_transpose": _convolution,
    "linear": _linear,
    "matmul": _matmul,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
}
