"""Sampling of images at computed places: boxes, affine maps, fields of coordinates.

Where the reference leaves a question open, the answer is that of the operator it was made for:
`tf.image.crop_and_resize` and PyTorch's `grid_sample` and `affine_grid`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .resizing import sampling_mode, sampling_points

_BOX_MODES = ("CORNERS_HEIGHT_FIRST", "CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST",
              "CENTER_SIZE_WIDTH_FIRST")  # fmt: skip
_IOS17 = 7
_AFFINE = (("sampling_mode", "bilinear"), ("padding_mode", "constant"),
           ("coordinates_mode", "normalized_minus_one_to_one"))  # fmt: skip
"""The only values that the reference of `affine` allows."""


@kernel("crop_resize")
def crop_resize(arguments: Arguments) -> AnyArray:
    """x (B, C, H, W) -> (N, C, H', W'), one patch for each of N boxes.

    Before iOS 17 (N, B, C, H', W'), every box cut out of every image, or (N, 1, C, H', W') for
    boxes that name their image (coremltools 9.0 declares B patches for those, too). A point
    outside of the image is `pad_value`.
    """
    x = arguments.array("x")
    if x.ndim != 4:
        raise arguments.fault(f"has an input {x.shape}, not a batch of images")
    boxes, images = _boxes(arguments, len(x))
    if not np.isin(images, np.arange(len(x))).all():
        raise arguments.fault(f"cuts boxes out of the images {images.ravel()}, of {len(x)}")
    targets = arguments.integer("target_height", 1), arguments.integer("target_width", 1)
    if min(targets) < 1:
        raise arguments.fault(f"resizes patches to {targets}")
    rows, columns = _box_points(arguments, boxes, x.shape[2:], targets)
    rows, columns = rows[:, None, :, None], columns[:, None, None, :]
    height, width = x.shape[2:]

    def fetch(row: AnyArray, column: AnyArray) -> AnyArray:
        fetched: AnyArray = x[
            images[:, :, None, None], :, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
        ]
        return fetched

    patches = _bilinear(fetch, rows, columns, x.dtype)
    outside = (rows < 0) | (rows > height - 1) | (columns < 0) | (columns > width - 1)
    outside = np.broadcast_to(outside, patches.shape[:-1])
    patches[outside] = arguments.number("pad_value", 0.0)
    patches = np.moveaxis(patches, -1, 2)
    return patches[:, 0] if arguments.opset >= _IOS17 else patches


@kernel("resample")
def resample(arguments: Arguments) -> AnyArray:
    """x (B, C, H, W) at coordinates (B, H', W', 2), which are (x, y) -> (B, C, H', W')."""
    x, coordinates = arguments.array("x"), arguments.array("coordinates")
    if x.ndim != 4 or coordinates.ndim != 4 or coordinates.shape[::3] != (len(x), 2):
        raise arguments.fault(f"has coordinates {coordinates.shape} for an input {x.shape}")
    return _resample(arguments, x, coordinates.astype(np.float64))


@kernel("affine")
def affine(arguments: Arguments) -> AnyArray:
    """x (B, C, H, W), mapped by (B or 1, 6) matrices from output to input coordinates."""
    x, matrix = arguments.array("x"), arguments.array("transform_matrix").astype(np.float64)
    if x.ndim != 4 or matrix.shape not in ((len(x), 6), (1, 6)):
        raise arguments.fault(f"has matrices {matrix.shape} for an input {x.shape}")
    for name, only in _AFFINE:
        if arguments.text(name) != only:
            raise arguments.fault(f"has another {name} than {only!r}")
    if not arguments.flag("align_corners") or arguments.number("padding_value") != 0:
        raise arguments.fault("does not align corners, or pads with another value than 0")
    height, width = arguments.integer("output_height"), arguments.integer("output_width")
    if min(height, width) < 1:
        raise arguments.fault(f"has the output {height} x {width}")
    # The centre, where there is one point only.
    y, x_out = (np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (height, width))
    grid = np.stack(np.broadcast_arrays(x_out, y[:, None], 1.0), axis=-1)
    coordinates = np.einsum("hwk,bck->bhwc", grid, matrix.reshape(-1, 2, 3))
    return _resample(arguments, x, np.broadcast_to(coordinates, (len(x), *coordinates.shape[1:])))


def _resample(arguments: Arguments, x: AnyArray, coordinates: AnyArray) -> AnyArray:
    padding = arguments.text("padding_mode")
    if padding not in ("constant", "border", "reflection", "symmetric"):
        raise arguments.fault(f"has the padding_mode {padding!r}, which is not known")
    columns, rows = (
        _inside(_pixels(arguments, coordinates[..., axis], size), size, padding)
        for axis, size in enumerate((x.shape[3], x.shape[2]))
    )
    images = np.arange(len(x))[:, None, None]
    height, width = x.shape[2:]

    def fetch(row: AnyArray, column: AnyArray) -> AnyArray:
        fetched: AnyArray = x[images, :, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        if padding == "constant":
            outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
            fetched[outside] = arguments.number("padding_value")
        return fetched

    sampling = arguments.text("sampling_mode")
    if sampling == "nearest":
        result = fetch(np.rint(rows).astype(np.int64), np.rint(columns).astype(np.int64))
    elif sampling == "bilinear":
        result = _bilinear(fetch, rows, columns, x.dtype)
    else:
        raise arguments.fault(f"has the sampling_mode {sampling!r}, which is not known")
    return np.moveaxis(result, -1, 1)


def _pixels(arguments: Arguments, values: AnyArray, size: int) -> AnyArray:
    """Coordinates as indices into an axis of `size` elements, whose centres are at integers."""
    mode = arguments.text("coordinates_mode")
    if mode == "unnormalized":
        return values
    if mode == "normalized_minus_one_to_one":
        values = (values + 1) / 2
    elif mode != "normalized_zero_to_one":
        raise arguments.fault(f"has the coordinates_mode {mode!r}, which is not known")
    return values * (size - 1) if arguments.flag("align_corners") else values * size - 0.5


def _inside(pixels: AnyArray, size: int, padding: str) -> AnyArray:
    """Pixels folded back into the axis, as its padding repeats it."""
    if padding == "constant":
        return pixels
    if padding == "reflection" and size > 1:
        pixels = size - 1 - np.abs(pixels % (2 * size - 2) - (size - 1))
    elif padding == "symmetric":
        pixels = size - 0.5 - np.abs((pixels + 0.5) % (2 * size) - size)
    return np.clip(pixels, 0, size - 1)


def _bilinear(
    fetch: Callable[[AnyArray, AnyArray], AnyArray],
    rows: AnyArray,
    columns: AnyArray,
    dtype: np.dtype[np.generic],
) -> AnyArray:
    """(..., C): what `fetch` gives for the four pixels around, weighted."""
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top).astype(dtype)[..., None], (columns - left).astype(dtype)[..., None]
    row, column = top.astype(np.int64), left.astype(np.int64)
    upper = fetch(row, column) * (1 - right) + fetch(row, column + 1) * right
    lower = fetch(row + 1, column) * (1 - right) + fetch(row + 1, column + 1) * right
    result: AnyArray = upper * (1 - down) + lower * down
    return result


def _boxes(arguments: Arguments, count: int) -> tuple[AnyArray, AnyArray]:
    """Boxes (N, 4), and the images (N, 1 or B) that each is cut out of."""
    if arguments.opset >= _IOS17:
        boxes = arguments.array("boxes")
        named = arguments.optional("box_indices")
        images = np.arange(len(boxes)) if named is None else named.astype(np.int64)
        if boxes.shape[1:] != (4,) or images.shape != boxes.shape[:1]:
            raise arguments.fault(f"has boxes {boxes.shape} and box_indices {images.shape}")
        return boxes.astype(np.float64), images[:, None]
    roi = arguments.array("roi")
    if roi.ndim != 5 or roi.size not in (4 * len(roi), 5 * len(roi)):
        raise arguments.fault(f"has a roi {roi.shape}")
    flat = roi.reshape(len(roi), -1).astype(np.float64)
    if flat.shape[1] == 4:
        return flat, np.broadcast_to(np.arange(count), (len(flat), count))
    return flat[:, 1:], flat[:, :1].astype(np.int64)


def _box_points(
    arguments: Arguments, boxes: AnyArray, sizes: tuple[int, ...], targets: tuple[int, int]
) -> tuple[AnyArray, AnyArray]:
    """Rows (N, H') and columns (N, W') where patches are sampled, in pixels."""
    kind = arguments.text("box_coordinate_mode", _BOX_MODES[0])
    if kind not in _BOX_MODES:
        raise arguments.fault(f"has the box_coordinate_mode {kind!r}, which is not known")
    mode = sampling_mode(arguments)
    first, second = boxes[:, :2], boxes[:, 2:]
    if kind.startswith("CENTER"):
        first, second = first - second / 2, first + second / 2
    if kind.endswith("WIDTH_FIRST"):
        first, second = first[:, ::-1], second[:, ::-1]
    scale = np.full(2, arguments.number("spatial_scale", 1.0))
    if arguments.flag("normalized_coordinates", False):
        scale = scale * (np.array(sizes) - 1)
    starts, ends = first * scale, second * scale
    rows, columns = (
        np.stack(
            [_along(mode, start, end, targets[axis]) for start, end in zip(*pair, strict=True)]
        )
        for axis, pair in enumerate(zip(starts.T, ends.T, strict=True))
    )
    return rows, columns


def _along(mode: str, start: float, end: float, count: int) -> AnyArray:
    """Points on one side of a box; one that ends before it starts is read backwards."""
    points = sampling_points(mode, abs(end - start) + 1, count)
    return start + points if end >= start else start - points
