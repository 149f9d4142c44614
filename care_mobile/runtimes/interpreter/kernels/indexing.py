"""Elements at computed places.

Negative indices count from the end up to iOS 16. From iOS 17 on they are out of bounds like those
behind the end, which gives an undefined result (without `validate_indices`) or an error (with it).
An undefined result proves nothing, so here both are errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

_IOS17 = 7


def bounded(arguments: Arguments, indices: AnyArray, size: int) -> AnyArray:
    """`indices` into an axis of `size`, none of them negative.

    Raises:
        RuntimeFailure: if one is out of bounds.
    """
    lowest = -size if arguments.opset < _IOS17 else 0
    outside = (indices < lowest) | (indices >= size)
    if outside.any():
        found = indices[outside].flat[0]
        since = " (negative ones are not allowed since iOS 17)" if lowest == 0 > found else ""
        raise arguments.fault(f"takes the index {found} of an axis of {size}{since}")
    places = indices.astype(np.intp)
    return np.where(places < 0, places + size, places)


def bounded_tuple(
    arguments: Arguments, indices: AnyArray, sizes: Sequence[int]
) -> tuple[AnyArray, ...]:
    """The last axis of `indices`, one index per axis of `sizes`, taken apart."""
    return tuple(
        bounded(arguments, indices[..., axis], sizes[axis]) for axis in range(indices.shape[-1])
    )


@kernel("gather")
def gather(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    axis = arguments.integer("axis", 0) % x.ndim
    batch_dims = arguments.integer("batch_dims", 0)
    indices = bounded(arguments, arguments.array("indices"), x.shape[axis])
    if batch_dims == 0:
        return np.take(x, indices, axis)
    if not 0 < batch_dims <= min(axis, indices.ndim):
        raise arguments.fault(f"has batch_dims {batch_dims} for axis {axis}")
    batch, inner = x.shape[:batch_dims], indices.shape[batch_dims:]
    if indices.shape[:batch_dims] != batch:
        raise arguments.fault(f"has indices of shape {indices.shape} for the batch {batch}")
    before, after = x.shape[batch_dims:axis], x.shape[axis + 1 :]
    count = int(np.prod(batch))
    x = x.reshape(count, int(np.prod(before)), x.shape[axis], int(np.prod(after)))
    flat = indices.reshape(count, int(np.prod(inner)))
    # The advanced indices surround a slice, so their axes come first.
    taken = x[np.arange(count)[:, None], :, flat].swapaxes(1, 2)
    return taken.reshape(batch + before + inner + after)


@kernel("gather_along_axis")
def gather_along_axis(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    axis = arguments.integer("axis", 0) % x.ndim
    indices = bounded(arguments, arguments.array("indices"), x.shape[axis])
    return np.take_along_axis(x, indices, axis)


@kernel("gather_nd")
def gather_nd(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    indices = arguments.array("indices")
    batch_dims = arguments.integer("batch_dims", 0)
    batch = np.ogrid[tuple(slice(size) for size in x.shape[:batch_dims])] if batch_dims else ()
    # Axes that the batch indices lack, those of the inner part of `indices`.
    inner = (1,) * (indices.ndim - 1 - batch_dims)
    leading = tuple(index.reshape(index.shape + inner) for index in batch)
    return np.asarray(x[leading + bounded_tuple(arguments, indices, x.shape[batch_dims:])])


@kernel("non_zero")
def non_zero(arguments: Arguments) -> AnyArray:
    return np.argwhere(arguments.array("x")).astype(np.int32)
