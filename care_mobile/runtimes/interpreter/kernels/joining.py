"""Tensors put together."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("concat")
def concat(arguments: Arguments) -> AnyArray:
    """Along `axis`; interleaved, element by element in turn. Scalars become a vector."""
    values = [np.atleast_1d(value) for value in arguments.arrays("values")]
    axis = arguments.integer("axis") % values[0].ndim
    if not arguments.flag("interleave", False):
        return np.concatenate(values, axis)
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return np.stack(values, axis + 1).reshape(shape)


@kernel("stack")
def stack(arguments: Arguments) -> AnyArray:
    return np.stack(arguments.arrays("values"), arguments.integer("axis"))
