from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, arrays, call, rounds_once
from ml_programs import Array, mb


@settings(max_examples=30, deadline=None)
@given(x=arrays(), axis=st.integers(-4, 3), ios=st.sampled_from([15, 16, 17, 18]))
def test_axes(x: Array, axis: int, ios: int) -> None:
    axis = max(-x.ndim, min(axis, x.ndim - 1))
    expected = torch.softmax(torch.from_numpy(x.astype(np.float64)), axis)
    agree(lambda x: mb.softmax(x=x, axis=axis), {"x": x}, expected, ios)


def test_default_axis_is_the_last() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(call("softmax", x=x), call("softmax", x=x, axis=1))


def test_large_scores() -> None:
    x = np.array([1e4, 1e4, -1e4, -np.inf], np.float32)
    result = call("softmax", x=x)
    assert result.dtype == np.float32
    assert result.tolist() == [0.5, 0.5, 0, 0]


def test_fp16() -> None:
    x = np.linspace(-8, 8, 300).astype(np.float16).reshape(3, 100)
    expected = torch.softmax(torch.from_numpy(x.astype(np.float64)), -1)
    rounds_once(lambda x: mb.softmax(x=x, axis=-1), {"x": x}, expected)
