from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import Array, mb

from .support import agree, counting

sizes = st.integers(1, 3)
blocks = st.integers(2, 3)
quick = settings(max_examples=10, deadline=None)


def depth_to_space(x: Array, b: int) -> Array:
    """By definition: channel (i * b + j) * C + c goes to row i and column j of its block."""
    n, c, h, w = x.shape
    depth = c // (b * b)
    out = np.zeros((n, depth, h * b, w * b), x.dtype)
    for i, j, channel in itertools.product(range(b), range(b), range(depth)):
        out[:, channel, i::b, j::b] = x[:, (i * b + j) * depth + channel]
    return out


@quick
@given(sizes, sizes, sizes, sizes, blocks)
def test_depth_to_space_and_back(n, c, h, w, b):
    deep = counting(n, c * b * b, h, w)
    wide = depth_to_space(deep, b)
    agree(lambda x: mb.depth_to_space(x=x, block_size=b), {"x": deep}, wide, value_inference=False)
    agree(lambda x: mb.space_to_depth(x=x, block_size=b), {"x": wide}, deep, value_inference=False)


@quick
@given(sizes, sizes, sizes, sizes, blocks)
def test_pixel_shuffle_and_back_as_torch_does(n, c, h, w, f):
    deep = counting(n, c * f * f, h, w)
    wide = torch.pixel_shuffle(torch.from_numpy(deep), f).numpy()
    agree(
        lambda x: mb.pixel_shuffle(x=x, upscale_factor=f), {"x": deep}, wide, value_inference=False
    )
    agree(
        lambda x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(f)),
        {"x": wide},
        deep,
        value_inference=False,
    )


@quick
@given(sizes, sizes, sizes, sizes, blocks, blocks, st.integers(0, 1), st.integers(0, 1))
def test_space_to_batch_and_back(n, c, h, w, rows, columns, top, left):
    x = counting(n, c, h * rows - top, w * columns - left) + 1
    padded = np.pad(x, ((0, 0), (0, 0), (top, 0), (left, 0)))
    # By definition: batch (i * columns + j) * n + b holds row i and column j of every block.
    batch = np.concatenate(
        [padded[:, :, i::rows, j::columns] for i in range(rows) for j in range(columns)]
    )
    borders = np.array([[top, 0], [left, 0]], np.int32)
    shape = np.array([rows, columns], np.int32)
    agree(
        lambda x: mb.space_to_batch(x=x, block_shape=shape, paddings=borders),
        {"x": x},
        batch,
        value_inference=False,
    )
    agree(
        lambda x: mb.batch_to_space(x=x, block_shape=shape, crops=borders),
        {"x": batch},
        x,
        value_inference=False,
    )
