"""Tensors inside an ONNX file or beside it: their size, and whether they are where they should be.

Numbers of element types are those of onnx's `TensorProto.DataType`.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ModelFileError
from ..pointers import refuse_pointer_file

DTYPES = {
    0: "undefined", 1: "fp32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32",
    7: "int64", 8: "string", 9: "bool", 10: "fp16", 11: "fp64", 12: "uint32", 13: "uint64",
    14: "complex64", 15: "complex128", 16: "bf16", 17: "fp8e4m3fn", 18: "fp8e4m3fnuz",
    19: "fp8e5m2", 20: "fp8e5m2fnuz", 21: "uint4", 22: "int4", 23: "fp4e2m1", 24: "fp8e8m0",
    25: "uint2", 26: "int2",
}  # fmt: skip
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64,
    15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
_FLOATS = frozenset({1, 10, 11, 16})
_EXTERNAL = 1
_MAX_PACKED = 4
"""Elements of 2 bits that share one entry of the typed fields."""


def element_bits(code: int) -> int:
    """0 for texts and what is not known."""
    return _BITS.get(code, 0)


def stored_bytes(tensor: Any) -> int:
    elements: int = math.prod(tensor.dims)
    return -(-elements * element_bits(tensor.data_type) // 8)


def is_weight(tensor: Any) -> bool:
    """A float or a number of 8 bits or fewer, with at least one axis: no shape, no index."""
    small = 0 < element_bits(tensor.data_type) <= 8 and DTYPES[tensor.data_type] != "bool"
    return bool(tensor.dims) and (tensor.data_type in _FLOATS or small)


def external_file(tensor: Any) -> str:
    """The file that holds it, relative to the model's folder; empty if the model itself does."""
    if tensor.data_location != _EXTERNAL:
        return ""
    return str(_external(tensor).get("location", ""))


def check_tensor(model: Path, tensor: Any) -> None:
    """Make sure the data are all there.

    Raises:
        ModelFileError: if they are not, or lie outside the model's folder.
    """
    size = stored_bytes(tensor)
    if any(dim < 0 for dim in tensor.dims) or tensor.data_type not in DTYPES:
        raise _damaged(model, tensor, "has no valid type")
    if tensor.data_location == _EXTERNAL:
        _check_external(model, tensor, size)
    elif tensor.raw_data:
        if len(tensor.raw_data) != size:
            raise _damaged(model, tensor, f"has {len(tensor.raw_data)} bytes of {size}")
    elif math.prod(tensor.dims) > _MAX_PACKED * sum(len(values) for values in _typed(tensor)):
        raise _damaged(model, tensor, "lacks data")


def _typed(tensor: Any) -> list[Any]:
    names = ("float", "int32", "int64", "double", "uint64", "string")
    return [getattr(tensor, f"{name}_data") for name in names]


def _external(tensor: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _check_external(model: Path, tensor: Any, size: int) -> None:
    entry = _external(tensor)
    name = entry.get("location", "")
    pure = PurePosixPath(name)
    parts = pure.parts
    if not parts or pure.is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise ModelFileError(
            f"{model.name} keeps weights in {name!r}, outside its folder", "do not use this model"
        )
    file = model.parent
    for part in parts:
        file = file / part
        if file.is_symlink():
            raise ModelFileError(
                f"{model.name}: {name!r} is a symbolic link", "copy the file there"
            )
    if not file.is_file():
        raise ModelFileError(
            f"{model.name} keeps weights in {name!r}, which is missing",
            "copy that file beside the model",
        )
    refuse_pointer_file(file)
    try:
        offset, length = int(entry.get("offset", 0)), int(entry.get("length", size))
    except ValueError as error:
        raise _damaged(model, tensor, "has no valid place in its file") from error
    if offset < 0 or length != size or offset + length > file.stat().st_size:
        raise _damaged(model, tensor, f"is not whole in {name}")


def _damaged(model: Path, tensor: Any, why: str) -> ModelFileError:
    return ModelFileError(
        f"{model.name} is damaged: the tensor {tensor.name!r} {why}", "copy it again"
    )
