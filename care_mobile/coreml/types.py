"""Element types of ML Programs.

Sub-byte integers are held one per byte. bfloat16 and the 8-bit floats, which no opset of iOS 15
to 18 computes with, are known by name only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CODES = {
    1: "bool", 2: "string", 10: "fp16", 11: "fp32", 12: "fp64", 13: "bf16", 21: "int8",
    22: "int16", 23: "int32", 24: "int64", 25: "int4", 31: "uint8", 32: "uint16", 33: "uint32",
    34: "uint64", 35: "uint4", 36: "uint2", 37: "uint1", 38: "uint6", 39: "uint3", 40: "fp8e4m3fn",
    41: "fp8e5m2",
}  # fmt: skip
"""`DataType` of Apple's MIL.proto -> the name used here and by coremltools."""

NUMPY: dict[str, type[np.generic]] = {
    "bool": np.bool_, "string": np.str_, "fp16": np.float16, "fp32": np.float32,
    "fp64": np.float64, "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    "int4": np.int8, "uint4": np.uint8, "uint2": np.uint8, "uint1": np.uint8, "uint6": np.uint8,
    "uint3": np.uint8,
}  # fmt: skip

BITS = {name: 8 * np.dtype(kind).itemsize for name, kind in NUMPY.items() if name != "string"} | {
    "bool": 8, "int4": 4, "uint4": 4, "uint2": 2, "uint1": 1, "uint6": 6, "uint3": 3,
}  # fmt: skip

FLOATS = frozenset({"fp16", "fp32", "fp64"})
INTEGERS = frozenset(name for name in NUMPY if "int" in name)


@dataclass(frozen=True)
class TensorType:
    """Element type and shape; None for a size known only at run time. () is a scalar.

    `shape` is None where even the rank is unknown.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "?" if self.shape is None else ",".join(str(n or "?") for n in self.shape)
        return f"{self.dtype}[{sizes}]"


@dataclass(frozen=True)
class OpaqueType:
    """A list, tuple, dictionary or state."""

    kind: str

    def __str__(self) -> str:
        return self.kind


ValueType = TensorType | OpaqueType


def unpack(data: NDArray[np.uint8], dtype: str, count: int) -> NDArray[np.generic]:
    """Sub-byte integers, lowest bits first, as one byte each.

    Args:
        data: (ceil(count * bits / 8),) packed bytes.
    """
    bits = BITS[dtype]
    flags = np.unpackbits(data, bitorder="little")[: count * bits].reshape(count, bits)
    values: NDArray[np.uint8] = flags @ (1 << np.arange(bits, dtype=np.uint8))
    if dtype == "int4":
        return (values.astype(np.int8) ^ 8) - 8
    return values.astype(np.uint8)
