"""Sorting. Equal elements keep their order, which the operator reference leaves open."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("argsort")
def argsort(arguments: Arguments) -> AnyArray:
    axis = arguments.integer("axis", -1)
    order = _order(arguments.array("x"), axis, arguments.flag("ascending", False))
    return order.astype(np.int32)


@kernel("topk")
def topk(arguments: Arguments) -> AnyArray | tuple[AnyArray, ...]:
    """The k largest (`ascending`: smallest); k = -1 takes all. Always sorted, as `sort` allows."""
    x = arguments.array("x")
    axis = arguments.integer("axis", -1) % x.ndim
    k = arguments.integer("k", 1)
    if not -1 <= k <= x.shape[axis]:
        raise arguments.fault(f"takes {k} elements of an axis of {x.shape[axis]}")
    order = _order(x, axis, arguments.flag("ascending", False))
    chosen = order[(slice(None),) * axis + (slice(None if k == -1 else k),)]
    values = np.take_along_axis(x, chosen, axis)
    if not arguments.flag("return_indices", True):
        return values
    return values, chosen.astype(np.int32)


def _order(x: AnyArray, axis: int, ascending: bool) -> AnyArray:
    if ascending:
        return np.argsort(x, axis, kind="stable")
    # Not argsort(-x): unsigned and the smallest signed integers have no negative.
    reverse = np.argsort(np.flip(x, axis), axis, kind="stable")
    order: AnyArray = x.shape[axis] - 1 - np.flip(reverse, axis)
    return order
