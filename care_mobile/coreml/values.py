"""Types and inline values of an ML Program's constants.

Errors call a constant by its `label`, a phrase like "constant 'weight'".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ModelFileError
from .types import (
    BITS,
    CODES,
    FLOATS,
    INTEGERS,
    NUMPY,
    OpaqueType,
    TensorType,
    ValueType,
    unpack,
)

MAX_ELEMENTS = 2**31
"""Of one tensor; more is a damaged or hostile file."""
MAX_SIZE = 2**63 - 1
MAX_RANK = 32
"""What every numpy can hold; Core ML's operators know at most 5 axes."""
_LISTS = {
    "floats": FLOATS,
    "doubles": FLOATS,
    "ints": INTEGERS,
    "longInts": INTEGERS,
    "bools": frozenset({"bool"}),
    "strings": frozenset({"string"}),
}
"""Members of a `TensorValue` that list elements, and the element types they may hold."""


def value_type(message: Any, label: str) -> ValueType:
    """What a `ValueType` message says.

    Raises:
        ModelFileError: if its element type is not known or its rank contradicts its sizes.
    """
    for kind in ("list", "tuple", "dictionary", "state"):
        if message.HasField(f"{kind}Type"):
            return OpaqueType(kind)
    tensor = message.tensorType
    if tensor.dataType not in CODES:
        raise ModelFileError(f"{label} has the element type {tensor.dataType}, which is not known")
    dtype = CODES[tensor.dataType]
    if len(tensor.dimensions) > MAX_RANK:
        raise ModelFileError(f"{label} has {len(tensor.dimensions)} axes")
    if tensor.rank < 0 or any(d.unknown.variadic for d in tensor.dimensions):
        return TensorType(dtype, None)
    if tensor.rank != len(tensor.dimensions):
        raise ModelFileError(
            f"{label} has rank {tensor.rank}, but sizes for {len(tensor.dimensions)} axes"
        )
    sizes = tuple(_size(dimension) for dimension in tensor.dimensions)
    if math.prod(size or 1 for size in sizes) > MAX_SIZE:
        raise ModelFileError(
            f"{label} claims sizes beyond any machine",
            "the file is damaged or hostile: do not use it",
        )
    return TensorType(dtype, sizes)


def _size(dimension: Any) -> int | None:
    """None if it is known only at run time; a negative one, in an unsigned field, is no size."""
    if not dimension.HasField("constant") or dimension.constant.size > MAX_SIZE:
        return None
    return int(dimension.constant.size)


def storable(label: str, kind: ValueType) -> tuple[str, tuple[int, ...]]:
    """Element type and shape of a constant of that type.

    Raises:
        ModelFileError: if no constant can have it.
    """
    if not isinstance(kind, TensorType) or kind.shape is None or None in kind.shape:
        raise ModelFileError(f"{label} has the type {kind}, which no constant can have")
    shape = tuple(size or 0 for size in kind.shape)
    if kind.dtype not in NUMPY:
        raise ModelFileError(f"{label} has elements of {kind.dtype}, which cannot be read")
    if len(shape) > MAX_RANK or math.prod(size or 1 for size in shape) >= MAX_ELEMENTS:
        raise ModelFileError(f"{label} claims the shape {list(shape)}")
    return kind.dtype, shape


def tensor(label: str, kind: TensorType, message: Any) -> Any:
    """The array in a `TensorValue` message; text as an array of str objects.

    Raises:
        ModelFileError: if it does not hold the elements of its type.
    """
    dtype, shape = storable(label, kind)
    element = object if dtype == "string" else NUMPY[dtype]
    count = math.prod(shape)
    if count == 0:
        return np.zeros(shape, element)
    if message.HasField("bytes") and dtype not in ("string", "bool"):
        data = np.frombuffer(message.bytes.values, np.uint8)
        if data.size == -(-count * BITS[dtype] // 8):
            array = unpack(data, dtype, count) if BITS[dtype] < 8 else data.view(element)
            return array.reshape(shape)
    for member, dtypes in _LISTS.items():
        if dtype in dtypes and message.HasField(member):
            values = getattr(message, member).values
            if len(values) == count and _in_range(values, dtype):
                return np.array(values, dtype=element).reshape(shape)
    raise ModelFileError(f"{label} does not have the {count} elements of its type {kind}")


def _in_range(values: Any, dtype: str) -> bool:
    if dtype not in INTEGERS:
        return True
    signed = dtype.startswith("int")
    high = 2 ** (BITS[dtype] - signed)
    return all((-high if signed else 0) <= value < high for value in values)
