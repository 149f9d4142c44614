"""Compressed constants: quantized, palettized (look-up tables) and sparse weights.

Two generations share names. Up to iOS 17 indices and masks are packed in bytes and come with the
shape; from iOS 18 on they are tensors of sub-byte integers, and scales and tables are per block:
a table's size along an axis divides the tensor's.
"""

from __future__ import annotations

import numpy as np

from ....coreml.types import unpack
from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .quantization import dequantized

_IOS18 = 8
_TABLE_BITS = {2: 1, 4: 2, 16: 4, 64: 6, 256: 8}


@kernel("constexpr_affine_dequantize")
def constexpr_affine_dequantize(arguments: Arguments) -> AnyArray:
    return dequantized(arguments, "quantized_data")


@kernel("constexpr_cast")
def constexpr_cast(arguments: Arguments) -> AnyArray:
    dtype = arguments.text("output_dtype")
    if dtype != "fp32":
        raise arguments.fault(f"casts to {dtype!r}, which is not known")
    return arguments.array("source_val")


@kernel("constexpr_lut_to_dense")
def constexpr_lut_to_dense(arguments: Arguments) -> AnyArray:
    lut = arguments.array("lut")
    if arguments.opset >= _IOS18:
        return _looked_up(arguments, arguments.array("indices"), lut)
    if lut.size not in _TABLE_BITS:
        raise arguments.fault(f"has a table of {lut.size} values, not 2, 4, 16, 64 or 256")
    return lut[_unpacked(arguments, "indices", _TABLE_BITS[lut.size])]


@kernel("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense(arguments: Arguments) -> AnyArray:
    packed = arguments.opset < _IOS18
    mask = _unpacked(arguments, "mask", 1) if packed else arguments.array("mask")
    return _dense(arguments, arguments.array("nonzero_data"), mask)


@kernel("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(arguments: Arguments) -> AnyArray:
    return _shifted_scaled(arguments, arguments.array("data"))


@kernel("constexpr_lut_to_sparse")
def constexpr_lut_to_sparse(arguments: Arguments) -> tuple[AnyArray, AnyArray]:
    """(mask, values where it is set)."""
    mask, lut = arguments.array("indices_mask"), arguments.array("lut")
    indices = _dense(arguments, arguments.array("indices_nonzero_data"), mask)
    values = _looked_up(arguments, indices, lut)
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], arguments.integer("vector_axis"))
    return mask, values[mask != 0]


@kernel("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(arguments: Arguments) -> tuple[AnyArray, AnyArray]:
    """(mask, values where it is set)."""
    mask = arguments.array("data_mask")
    data = _dense(arguments, arguments.array("nonzero_data"), mask)
    return mask, _shifted_scaled(arguments, data)[mask != 0]


def _unpacked(arguments: Arguments, name: str, bits: int) -> AnyArray:
    """Integers of `bits` bits packed in bytes, in the operation's `shape`."""
    packed, shape = arguments.array(name), arguments.integers("shape")
    count = int(np.prod(shape, dtype=np.int64))
    if packed.size != -(-count * bits // 8):
        raise arguments.fault(f"has {packed.size} bytes of {name} for the shape {list(shape)}")
    return unpack(packed, f"uint{bits}", count).reshape(shape)


def _dense(arguments: Arguments, values: AnyArray, mask: AnyArray) -> AnyArray:
    places = mask != 0
    if values.size != np.count_nonzero(places):
        raise arguments.fault(
            f"has {values.size} values for the {np.count_nonzero(places)} places of its mask"
        )
    dense = np.zeros(mask.shape, values.dtype)
    dense[places] = values
    return dense


def _blocks(
    arguments: Arguments, shape: tuple[int, ...], counts: tuple[int, ...]
) -> list[AnyArray]:
    """For every axis, the block in which each of its elements lies, ready to index with."""
    if len(shape) != len(counts) or any(n < 1 or s % n for s, n in zip(shape, counts, strict=True)):
        raise arguments.fault(f"has {list(counts)} blocks for the shape {list(shape)}")
    grid = np.ogrid[tuple(slice(size) for size in shape)]
    return [axis * count // max(axis.size, 1) for axis, count in zip(grid, counts, strict=True)]


def _shifted_scaled(arguments: Arguments, data: AnyArray) -> AnyArray:
    scale, offset = arguments.array("scale"), arguments.optional("offset")
    blocks = tuple(_blocks(arguments, data.shape, scale.shape))
    values = data.astype(scale.dtype)
    if offset is not None:
        if offset.shape != scale.shape:
            raise arguments.fault(f"has offsets {offset.shape} for scales {scale.shape}")
        values -= offset.astype(scale.dtype)[blocks]
    values *= scale[blocks]
    return values


def _looked_up(arguments: Arguments, indices: AnyArray, lut: AnyArray) -> AnyArray:
    """Values of per-block tables (..., entries, vector); vectors extend `vector_axis`."""
    blocks = _blocks(arguments, indices.shape, lut.shape[:-2])
    values: AnyArray = lut[(*blocks, indices)]
    vector = values.shape[-1]
    if vector == 1:
        return values.reshape(indices.shape)
    axis = arguments.integer("vector_axis") % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= vector
    return np.moveaxis(values, -1, axis + 1).reshape(shape)
