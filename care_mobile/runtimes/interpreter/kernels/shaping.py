"""Shapes: the same elements under other axes. Most results are views of the input."""

from __future__ import annotations

import math

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

_IOS17 = 7


@kernel("reshape")
def reshape(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    shape = list(arguments.integers("shape"))
    if any(size < -1 for size in shape):
        raise arguments.fault(f"asks for the shape {shape}, whose sizes must be -1 or more")
    if 0 in shape and arguments.opset < _IOS17 and len(shape) != x.ndim:
        raise arguments.fault(
            f"asks for the shape {shape} of a tensor of rank {x.ndim}; before iOS 17 a 0 needs "
            "equal ranks"
        )
    # From iOS 17 on, a 0 takes the input's size counted from the last axis, or 1 beyond the first.
    for index, size in enumerate(shape):
        if size == 0:
            source = x.ndim - len(shape) + index
            shape[index] = x.shape[source] if source >= 0 else 1
    return x.reshape(shape)


@kernel("reshape_like")
def reshape_like(arguments: Arguments) -> AnyArray:
    shape: list[int] = []
    for reference, begin, end, to_the_end in zip(
        arguments.arrays("ref_tensors"),
        arguments.arrays("begins"),
        arguments.arrays("ends"),
        arguments.arrays("end_masks"),
        strict=True,
    ):
        shape += reference.shape[int(begin) : None if to_the_end else int(end)]
    return arguments.array("x").reshape(shape)


@kernel("transpose")
def transpose(arguments: Arguments) -> AnyArray:
    return np.transpose(arguments.array("x"), arguments.integers("perm"))


@kernel("expand_dims")
def expand_dims(arguments: Arguments) -> AnyArray:
    return np.expand_dims(arguments.array("x"), arguments.integers("axes"))


@kernel("squeeze")
def squeeze(arguments: Arguments) -> AnyArray:
    """Axes that are not of size 1 stay, as in PyTorch and unlike numpy."""
    x = arguments.array("x")
    axes = arguments.integers("axes", range(x.ndim))
    return np.squeeze(x, tuple(axis for axis in axes if x.shape[axis] == 1))


@kernel("flatten2d")
def flatten2d(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    axis = arguments.integer("axis", 1)
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@kernel("shape")
def shape(arguments: Arguments) -> AnyArray:
    return np.array(arguments.array("x").shape, np.int32)


@kernel("tile")
def tile(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    reps = arguments.integers("reps")
    if len(reps) != x.ndim or any(rep < 1 for rep in reps):
        raise arguments.fault(f"repeats a tensor of rank {x.ndim} {list(reps)} times")
    return np.tile(x, reps)


@kernel("reverse")
def reverse(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return np.flip(x, arguments.integers("axes", range(x.ndim)))


@kernel("sliding_windows")
def sliding_windows(arguments: Arguments) -> AnyArray:
    """Windows along `axis`; their elements form a new axis behind it."""
    x = arguments.array("x")
    axis = arguments.integer("axis") % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, arguments.integer("size"), axis=axis)
    kept = (slice(None),) * axis + (slice(None, None, arguments.integer("stride", 1)),)
    return np.moveaxis(windows[kept], -1, axis + 1)
