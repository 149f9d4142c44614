"""Poolings in one, two and three dimensions, axis by axis."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .windows import Window, reached, read_window


@kernel("max_pool")
def max_pool(arguments: Arguments) -> AnyArray:
    """x (N, C, *D) -> (N, C, *D'); padding never is the maximum."""
    x = arguments.array("x")
    return _slide(x, _window(arguments, x), np.maximum, -np.inf)


@kernel("avg_pool")
def avg_pool(arguments: Arguments) -> AnyArray:
    """x (N, C, *D) -> (N, C, *D')."""
    x = arguments.array("x")
    window = _window(arguments, x)
    total = _slide(x, window, np.add, 0.0)
    exclude = arguments.flag("exclude_padding_from_average", False)
    for axis in range(len(window.sizes)):
        counts = _counts(window, axis, exclude).astype(x.dtype)
        total /= counts.reshape(-1, *(1,) * (len(window.sizes) - axis - 1))
    return total


@kernel("l2_pool")
def l2_pool(arguments: Arguments) -> AnyArray:
    """x (N, C, *D) -> (N, C, *D'), the root of the sum of squares; one or two dimensions."""
    x = arguments.array("x")
    if x.ndim > 4:
        raise arguments.fault(f"has an input {x.shape}; it pools one or two spatial axes")
    total = _slide(np.square(x), _window(arguments, x), np.add, 0.0)
    return np.sqrt(total, out=total)


def _window(arguments: Arguments, x: AnyArray) -> Window:
    ceil_mode = arguments.flag("ceil_mode", False)
    window = read_window(
        arguments, x.shape[2:], arguments.integers("kernel_sizes"), ceil_mode=ceil_mode
    )
    if ceil_mode and arguments.text("pad_type", "valid").lower() not in ("valid", "custom"):
        raise arguments.fault("has ceil_mode, which goes with the pad_type 'valid' or 'custom'")
    if ceil_mode and any(before != after for before, after in window.pads):
        raise arguments.fault("has ceil_mode and a pad that is not symmetric")
    return window


def _slide(x: AnyArray, window: Window, combine: np.ufunc, empty: float) -> AnyArray:
    """Combine what is in each window; `empty` for a window with padding only."""
    for number, (size, taps, stride, (before, _), outputs) in enumerate(
        zip(window.sizes, window.kernel, window.strides, window.pads, window.outputs, strict=True)
    ):
        axis = number + 2
        shape = (*x.shape[:axis], outputs, *x.shape[axis + 1 :])
        result = np.full(shape, empty, x.dtype)
        for tap in range(taps):
            found = reached(size, tap, stride, before, outputs)
            if found is not None:
                lead = (slice(None),) * axis
                target = result[(*lead, found[0])]
                combine(target, x[(*lead, found[1])], out=target)
        x = result
    return x


def _counts(window: Window, axis: int, exclude_padding: bool) -> AnyArray:
    """How many elements each output averages along an axis.

    All of the window, wherever it ends: in `ceil_mode` Core ML divides by the overhang behind the
    input as well, where PyTorch does not (apple/coremltools #2772, numbers in PR #2844). Only
    `exclude_padding_from_average` leaves out what is no element of the input, overhang included.
    """
    size, before = window.sizes[axis], window.pads[axis][0]
    starts = np.arange(window.outputs[axis]) * window.strides[axis] - before
    stops = starts + window.kernel[axis]
    if not exclude_padding:
        return stops - starts
    counts: AnyArray = np.minimum(stops, size) - np.maximum(starts, 0)
    return np.maximum(counts, 0)
