from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernel_calls import agree, arrays, call
from ml_programs import Array, mb
from torch import Tensor

IOS = st.sampled_from([15, 16, 17, 18])
SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=4, max_side=4)

COMPARISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "equal": torch.eq,
    "not_equal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
}
LOGIC = ["logical_and", "logical_or", "logical_xor"]


@pytest.mark.parametrize("operator", COMPARISONS)
@settings(max_examples=15, deadline=None)
@given(
    shapes=SHAPES,
    data=st.data(),
    dtype=st.sampled_from([np.float16, np.float32, np.int32]),
    ios=IOS,
)
def test_comparisons(
    operator: str, shapes: Any, data: st.DataObject, dtype: type[np.generic], ios: int
) -> None:
    # Few values, so that many are equal.
    x, y = (
        data.draw(arrays(-2, 2, shape=shape, dtype=np.int32)).astype(dtype)
        for shape in shapes.input_shapes
    )
    expected = COMPARISONS[operator](torch.from_numpy(x), torch.from_numpy(y))
    agree(lambda x, y: getattr(mb, operator)(x=x, y=y), {"x": x, "y": y}, expected, ios)


@pytest.mark.parametrize("operator", LOGIC)
@settings(max_examples=15, deadline=None)
@given(shapes=SHAPES, data=st.data(), ios=IOS)
def test_logic(operator: str, shapes: Any, data: st.DataObject, ios: int) -> None:
    x, y = (data.draw(arrays(shape=shape, dtype=np.bool_)) for shape in shapes.input_shapes)
    expected = getattr(torch, operator)(torch.from_numpy(x), torch.from_numpy(y))
    agree(lambda x, y: getattr(mb, operator)(x=x, y=y), {"x": x, "y": y}, expected, ios)


def test_not() -> None:
    x = np.array([[True, False, True]])
    agree(lambda x: mb.logical_not(x=x), {"x": x}, ~x)


@settings(max_examples=20, deadline=None)
@given(
    a=arrays(shape=(2, 1, 3)), b=arrays(shape=(4, 1)), cond=arrays(shape=(2, 4, 3), dtype=np.bool_),
    ios=IOS,
)  # fmt: skip
def test_select(a: Array, b: Array, cond: Array, ios: int) -> None:
    expected = torch.where(torch.from_numpy(cond), torch.from_numpy(a), torch.from_numpy(b))
    inputs = {"cond": cond, "a": a, "b": b}
    agree(lambda cond, a, b: mb.select(cond=cond, a=a, b=b), inputs, expected, ios)


def test_condition_is_broadcast() -> None:
    """coremltools declares the shape of a and b only, but the reference broadcasts all three."""
    result = call("select", cond=np.array([[True], [False]]), a=np.array([1, 2]), b=np.array([3]))
    assert result.tolist() == [[1, 2], [3, 3]]


def test_select_of_nothing_gives_indices() -> None:
    result = call("select", declared="int32", cond=np.array([[True, False], [False, True]]))
    assert result.dtype == np.int32
    assert result.tolist() == [[0, 0], [1, 1]]


def test_nan_equals_nothing() -> None:
    nan = np.array([np.nan])
    assert [bool(call(name, x=nan, y=nan)[0]) for name in COMPARISONS] == [False, True] + [
        False
    ] * 4
