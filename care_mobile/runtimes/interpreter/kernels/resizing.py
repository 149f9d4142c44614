"""Resizing of the last axes.

The reference defines grids of sampling points for linear interpolation. Which element is nearest
it leaves open; what is done here follows coremltools: its TensorFlow frontend maps the grid with
half-pixel centres to `resize_nearest_neighbor` (and to `resize` with the mode DEFAULT), and the
one without to `upsample_nearest_neighbor`.
"""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

_HALF_PIXEL = "UNALIGN_CORNERS"
_MODES = (_HALF_PIXEL, "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS")


@kernel("resize_bilinear")
def resize_bilinear(arguments: Arguments) -> AnyArray:
    """x (*D, H, W) -> (*D, target_size_height, target_size_width)."""
    height = arguments.integer("target_size_height", 1)
    width = arguments.integer("target_size_width", 1)
    return _linear(arguments, (height, width), sampling_mode(arguments))


@kernel("resize_nearest_neighbor")
def resize_nearest_neighbor(arguments: Arguments) -> AnyArray:
    """x (*D, H, W) -> (*D, target_size_height, target_size_width)."""
    sizes = arguments.integer("target_size_height"), arguments.integer("target_size_width")
    return _nearest(arguments, sizes, _HALF_PIXEL)


@kernel("upsample_bilinear")
def upsample_bilinear(arguments: Arguments) -> AnyArray:
    """x (*D, H, W) -> (*D, floor(H * scale_factor_height), floor(W * scale_factor_width))."""
    align_corners = arguments.flag("align_corners", True)
    half_pixel_centers = arguments.flag("half_pixel_centers", not align_corners)
    if align_corners and half_pixel_centers:
        raise arguments.fault("has both align_corners and half_pixel_centers")
    grid = _HALF_PIXEL if half_pixel_centers else "DEFAULT"
    return _linear(arguments, _scaled(arguments), "STRICT_ALIGN_CORNERS" if align_corners else grid)


@kernel("upsample_nearest_neighbor")
def upsample_nearest_neighbor(arguments: Arguments) -> AnyArray:
    """x (*D, H, W) -> (*D, floor(H * scale_factor_height), floor(W * scale_factor_width))."""
    sizes = _scaled(arguments)
    x = _check(arguments, sizes)
    for axis, size in zip((-2, -1), sizes, strict=True):
        x = x.take(np.arange(size) * x.shape[axis] // size, axis)
    return x


@kernel("resize")
def resize(arguments: Arguments) -> AnyArray:
    """x (...), whose last `resized_dims` axes get the last sizes of `shape`; 0 keeps a size."""
    x = arguments.array("x")
    count = arguments.integer("resized_dims")
    shape = arguments.integers("shape")
    if not 0 <= count <= len(shape) <= x.ndim:
        raise arguments.fault(f"resizes {count} axes of {x.shape} to the shape {shape}")
    sizes = tuple(
        target or size
        for target, size in zip(shape[len(shape) - count :], x.shape[x.ndim - count :], strict=True)
    )
    interpolation = arguments.text("interpolation_mode", "LINEAR")
    mode = sampling_mode(arguments)
    if interpolation == "NEAREST_NEIGHBOR":
        return _nearest(arguments, sizes, _HALF_PIXEL if mode == "DEFAULT" else mode)
    if interpolation != "LINEAR":
        raise arguments.fault(f"has the interpolation_mode {interpolation!r}, which is not known")
    if x.dtype.kind != "f":
        raise arguments.fault("interpolates integers; how it would round them is not documented")
    return _linear(arguments, sizes, mode)


def sampling_points(mode: str, size: float, count: int) -> AnyArray:
    """Where `count` outputs lie on an axis of `size` elements, clamped to it (float64)."""
    index = np.arange(count, dtype=np.float64)
    if mode == "ALIGN_CORNERS" and count == 1:
        points = index + (size - 1) / 2
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = index * (size - 1) / max(1, count - 1)
    elif mode == "DEFAULT":
        points = index * size / count
    elif mode == "OFFSET_CORNERS":
        points = (index + 0.5) * max(1, size - 1) / count
    else:
        points = (2 * index + 1) * size / (2 * count) - 0.5
    return np.clip(points, 0, size - 1)


def sampling_mode(arguments: Arguments) -> str:
    """The grid that is asked for, by its name in the reference."""
    mode = arguments.text("sampling_mode", "DEFAULT")
    if mode not in _MODES:
        raise arguments.fault(f"has the sampling_mode {mode!r}, which is not known")
    return mode


def _scaled(arguments: Arguments) -> tuple[int, int]:
    # The factors are float32; their product with a size is, too, or 0.7 * 10 would become 6.
    height, width = (
        int(np.float32(arguments.number(f"scale_factor_{name}", 1.0)) * np.float32(size))
        for name, size in zip(("height", "width"), arguments.array("x").shape[-2:], strict=True)
    )
    return height, width


def _check(arguments: Arguments, sizes: tuple[int, ...]) -> AnyArray:
    x = arguments.array("x")
    if x.ndim < len(sizes) or min(sizes, default=1) < 1:
        raise arguments.fault(f"resizes {x.shape} to the sizes {sizes}")
    return x


def _linear(arguments: Arguments, sizes: tuple[int, ...], mode: str) -> AnyArray:
    """Interpolate linearly along each of the last axes in turn."""
    x = _check(arguments, sizes)
    for axis, count in enumerate(sizes, x.ndim - len(sizes)):
        size = x.shape[axis]
        points = sampling_points(mode, size, count)
        lower = points.astype(np.intp)
        weights = (points - lower).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
        base = x.take(lower, axis)
        rise = x.take(np.minimum(lower + 1, size - 1), axis)
        rise -= base
        rise *= weights
        base += rise
        x = base
    return x


def _nearest(arguments: Arguments, sizes: tuple[int, ...], mode: str) -> AnyArray:
    """Take the element nearest to each sampling point; of two, the later one."""
    x = _check(arguments, sizes)
    for axis, count in enumerate(sizes, x.ndim - len(sizes)):
        points = sampling_points(mode, x.shape[axis], count)
        x = x.take((points + 0.5).astype(np.intp), axis)
    return x
