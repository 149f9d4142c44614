"""Updates at computed places; repeated places are updated one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .indexing import bounded, bounded_tuple

_UPDATES: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "max": np.maximum,
    "min": np.minimum,
}


@kernel("scatter")
def scatter(arguments: Arguments) -> AnyArray:
    """`updates` in the places of slices of `data` along `axis`."""
    data = arguments.array("data").copy()
    axis = arguments.integer("axis", 0) % data.ndim
    indices = bounded(arguments, arguments.array("indices"), data.shape[axis])
    index = (slice(None),) * axis + (indices,)
    # The reference documents "update" here, though coremltools' builder writes "add".
    return _updated(arguments, data, index, arguments.text("mode", "update"))


@kernel("scatter_along_axis")
def scatter_along_axis(arguments: Arguments) -> AnyArray:
    data = arguments.array("data").copy()
    axis = arguments.integer("axis", 0) % data.ndim
    indices = bounded(arguments, arguments.array("indices"), data.shape[axis])
    index: list[AnyArray] = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    index[axis] = indices
    return _updated(arguments, data, tuple(index), arguments.text("mode", "add"))


@kernel("scatter_nd")
def scatter_nd(arguments: Arguments) -> AnyArray:
    data = arguments.array("data").copy()
    index = bounded_tuple(arguments, arguments.array("indices"), data.shape)
    return _updated(arguments, data, index, arguments.text("mode", "add"))


def _updated(
    arguments: Arguments, data: AnyArray, index: tuple[AnyArray | slice, ...], mode: str
) -> AnyArray:
    updates = arguments.array("updates")
    if data[index].shape != updates.shape:
        raise arguments.fault(
            f"has updates of shape {updates.shape} for places of shape {data[index].shape}"
        )
    if mode == "update":
        data[index] = updates
        return data
    if mode not in _UPDATES:
        raise arguments.fault(f"has the mode {mode!r}, which is not known")
    if mode == "div" and not np.issubdtype(data.dtype, np.floating):
        raise arguments.fault("divides integers, whose rounding the operator reference leaves open")
    _UPDATES[mode].at(data, index, updates)  # type: ignore[attr-defined]
    return data
