"""Linear algebra: matrix products with numpy's broadcasting of the leading axes."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

_CHANNELS_FIRST = ("abcd,adce->abce", "abc,cbd->abd")
"""The equations that the operator reference documents, with their letters in order."""


@kernel("matmul")
def matmul(arguments: Arguments) -> AnyArray:
    """x (..., M, K) @ y (..., K, N).

    The reference takes vectors as well, which Core ML does not: it gives another shape, or crashes
    (apple/coremltools #2263).
    """
    x, y = arguments.array("x"), arguments.array("y")
    if min(x.ndim, y.ndim) < 2:
        raise arguments.fault(f"multiplies {x.shape} by {y.shape}: Core ML takes no vector")
    if arguments.flag("transpose_x", False):
        x = x.swapaxes(-1, -2)
    if arguments.flag("transpose_y", False):
        y = y.swapaxes(-1, -2)
    product: AnyArray = np.matmul(x, y)
    return product


@kernel("linear")
def linear(arguments: Arguments) -> AnyArray:
    """x (..., D_in) @ weight (D_out, D_in) transposed + bias (D_out,)."""
    x = arguments.array("x")
    if x.dtype.kind in "iu":
        raise arguments.fault("multiplies integers: Core ML does not load it (coremltools #2575)")
    y: AnyArray = np.matmul(x, arguments.array("weight").T)
    bias = arguments.optional("bias")
    return y if bias is None else y + bias


@kernel("einsum")
def einsum(arguments: Arguments) -> AnyArray:
    """The documented equations as matrix products, any other by numpy.

    The former take x (..., C, H, W) and y (..., W, H, U) to (..., C, H, U); all axes but W, C
    and U broadcast.
    """
    values, equation = arguments.arrays("values"), arguments.text("equation").replace(" ", "")
    if _in_order(equation) in _CHANNELS_FIRST and len(values) == 2:
        x, y = (value.swapaxes(-2, -3) for value in values)
        product: AnyArray = np.matmul(x, y)
        return product.swapaxes(-2, -3)
    return np.asarray(np.einsum(equation, *values, optimize=True))


def _in_order(equation: str) -> str:
    """The equation with its letters renamed a, b, c, ... in order of appearance."""
    letters = dict.fromkeys(c for c in equation if c.isalpha())
    return equation.translate({ord(c): ord("a") + i for i, c in enumerate(letters)})
