"""Reductions over axes (all of them by default), and the cumulative sum.

Floats are summed in the working type, integers in 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, Kernel, kernel

Axes = tuple[int, ...] | None


class _Reduction(Protocol):
    def __call__(self, x: AnyArray, /, axis: Axes, *, keepdims: bool) -> AnyArray: ...


def _l1_norm(x: AnyArray, axis: Axes, *, keepdims: bool) -> AnyArray:
    return np.asarray(np.sum(np.abs(x), axis, keepdims=keepdims))


def _l2_norm(x: AnyArray, axis: Axes, *, keepdims: bool) -> AnyArray:
    return np.sqrt(_sum_square(x, axis, keepdims=keepdims))


def _log_sum(x: AnyArray, axis: Axes, *, keepdims: bool) -> AnyArray:
    return np.asarray(np.log(np.sum(x, axis, keepdims=keepdims)))


def _log_sum_exp(x: AnyArray, axis: Axes, *, keepdims: bool) -> AnyArray:
    """Shifted by the maximum, so that it does not overflow."""
    shift = np.max(x, axis, keepdims=True)
    shift = np.where(np.isfinite(shift), shift, 0)  # inf - inf is NaN
    shifted = x - shift
    sums = np.sum(np.exp(shifted), axis, keepdims=keepdims)
    return np.asarray(np.log(sums) + shift.reshape(sums.shape))


def _sum_square(x: AnyArray, axis: Axes, *, keepdims: bool) -> AnyArray:
    return np.asarray(np.sum(np.square(x), axis, keepdims=keepdims))


_REDUCTIONS: dict[str, _Reduction] = {
    "reduce_l1_norm": _l1_norm,
    "reduce_l2_norm": _l2_norm,
    "reduce_log_sum": _log_sum,
    "reduce_log_sum_exp": _log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": _sum_square,
}


def _over_axes(function: _Reduction) -> Kernel:
    def reduce(arguments: Arguments) -> AnyArray:
        axes = arguments.integers("axes") if arguments.given("axes") else None
        return function(arguments.array("x"), axes, keepdims=arguments.flag("keep_dims", False))

    return reduce


for _name, _function in _REDUCTIONS.items():
    kernel(_name)(_over_axes(_function))


@kernel("reduce_argmax")
def reduce_argmax(arguments: Arguments) -> AnyArray:
    return _position(arguments, np.argmax)


@kernel("reduce_argmin")
def reduce_argmin(arguments: Arguments) -> AnyArray:
    return _position(arguments, np.argmin)


def _position(arguments: Arguments, function: Callable[..., AnyArray]) -> AnyArray:
    """The first of several equal ones, which the reference leaves open."""
    dtype = arguments.text("output_dtype", "int32")
    if dtype.lower() not in ("int32", "uint16"):
        raise arguments.fault(f"has the output_dtype {dtype!r}, which is not known")
    axis, keep = arguments.integer("axis", -1), arguments.flag("keep_dims", False)
    return function(arguments.array("x"), axis, keepdims=keep)


@kernel("cumsum")
def cumsum(arguments: Arguments) -> AnyArray:
    """Along `axis`; exclusive sums leave out the element itself, reverse ones start at the end."""
    x, axis = arguments.array("x"), arguments.integer("axis", 0)
    reverse = arguments.flag("reverse", False)
    if reverse:
        x = np.flip(x, axis)
    sums = np.cumsum(x, axis, dtype=x.dtype)
    if arguments.flag("exclusive", False):
        shifted = np.zeros_like(sums)
        np.moveaxis(shifted, axis, 0)[1:] = np.moveaxis(sums, axis, 0)[:-1]
        sums = shifted
    return np.flip(sums, axis) if reverse else sums
