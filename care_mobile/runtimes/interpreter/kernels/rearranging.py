"""Blocks of pixels moved between the spatial axes and channels or batch; all on (N, C, H, W).

`depth_to_space` and `space_to_depth` order channels as TensorFlow does, the place within the block
first; `pixel_shuffle` and `pixel_unshuffle` as PyTorch does, the channel first.
"""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("depth_to_space")
def depth_to_space(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    n, c, h, w = x.shape
    b = arguments.integer("block_size")
    blocks = x.reshape(n, b, b, c // (b * b), h, w)
    return blocks.transpose(0, 3, 4, 1, 5, 2).reshape(n, -1, h * b, w * b)


@kernel("space_to_depth")
def space_to_depth(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    n, c, h, w = x.shape
    b = arguments.integer("block_size")
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    return blocks.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


@kernel("pixel_shuffle")
def pixel_shuffle(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    n, c, h, w = x.shape
    f = arguments.integer("upscale_factor")
    blocks = x.reshape(n, c // (f * f), f, f, h, w)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, h * f, w * f)


@kernel("pixel_unshuffle")
def pixel_unshuffle(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    n, c, h, w = x.shape
    f = arguments.integer("downscale_factor")
    blocks = x.reshape(n, c, h // f, f, w // f, f)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * f * f, h // f, w // f)


@kernel("space_to_batch")
def space_to_batch(arguments: Arguments) -> AnyArray:
    padding = arguments.array("paddings").reshape(2, 2)
    x = np.pad(arguments.array("x"), [(0, 0), (0, 0), *padding.tolist()])
    n, c, h, w = x.shape
    rows, columns = arguments.integers("block_shape")
    blocks = x.reshape(n, c, h // rows, rows, w // columns, columns)
    return blocks.transpose(3, 5, 0, 1, 2, 4).reshape(-1, c, h // rows, w // columns)


@kernel("batch_to_space")
def batch_to_space(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    n, c, h, w = x.shape
    rows, columns = arguments.integers("block_shape")
    blocks = x.reshape(rows, columns, n // (rows * columns), c, h, w)
    grown = blocks.transpose(2, 3, 4, 0, 5, 1).reshape(-1, c, h * rows, w * columns)
    (top, bottom), (left, right) = arguments.array("crops").reshape(2, 2).tolist()
    return grown[:, :, top : h * rows - bottom, left : w * columns - right]
