"""Softmax, which attention shares."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("softmax")
def softmax(arguments: Arguments) -> AnyArray:
    return softmax_along(arguments.array("x"), arguments.integer("axis", -1))


def softmax_along(x: AnyArray, axis: int) -> AnyArray:
    """e^x / sum e^x along `axis`, in a new array; a slice of -inf gives NaN, as the formula."""
    y: AnyArray = x - np.max(x, axis, keepdims=True)
    np.exp(y, out=y)
    y /= np.sum(y, axis, keepdims=True)
    return y
