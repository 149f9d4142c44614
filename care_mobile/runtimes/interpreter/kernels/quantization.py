"""Affine quantization of tensors: value = scale * (quantized - zero point)."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


@kernel("quantize")
def quantize(arguments: Arguments) -> AnyArray:
    """Rounded half to even, clipped to the output type."""
    dtype = arguments.text("output_dtype")
    if dtype not in _RANGES:
        raise arguments.fault(f"quantizes to {dtype!r}, which is not known")
    x = arguments.array("input")
    values = np.round(x / _along_axis(arguments, arguments.array("scale"), x))
    zero_point = arguments.optional("zero_point")
    if zero_point is not None:
        values += _along_axis(arguments, zero_point, x).astype(x.dtype)
    return np.clip(values, *_RANGES[dtype]).astype(dtype)


@kernel("dequantize")
def dequantize(arguments: Arguments) -> AnyArray:
    return dequantized(arguments, "input")


def dequantized(arguments: Arguments, name: str) -> AnyArray:
    """scale * (the input called `name` - zero_point), per tensor or along `axis`."""
    data = arguments.array(name)
    scale = _along_axis(arguments, arguments.array("scale"), data)
    values = data.astype(scale.dtype)
    zero_point = arguments.optional("zero_point")
    if zero_point is not None:
        values -= _along_axis(arguments, zero_point, data).astype(scale.dtype)
    values *= scale
    return values


def _along_axis(arguments: Arguments, parameter: AnyArray, data: AnyArray) -> AnyArray:
    """A scalar as it is; a vector shaped to run along `axis` of `data`."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * data.ndim
    shape[arguments.integer("axis")] = parameter.size
    return parameter.reshape(shape)
