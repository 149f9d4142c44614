from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernel_calls import agree, arrays, call, rounds_once
from ml_programs import Array, mb, oracle
from torch import Tensor

from care_mobile.errors import RuntimeFailure

IOS = st.sampled_from([15, 16, 17, 18])
Dims = tuple[int, ...]


def product(x: Tensor, dims: Dims) -> Tensor:
    for dim in dims:
        x = x.prod(dim, keepdim=True)
    return x


REDUCTIONS: dict[str, Callable[[Tensor, Dims], Tensor]] = {
    "reduce_l1_norm": lambda x, dims: x.abs().sum(dims, keepdim=True),
    "reduce_l2_norm": lambda x, dims: torch.linalg.vector_norm(x, 2, dims, keepdim=True),
    "reduce_log_sum": lambda x, dims: x.sum(dims, keepdim=True).log(),
    "reduce_log_sum_exp": lambda x, dims: torch.logsumexp(x, dims, keepdim=True),
    "reduce_max": lambda x, dims: x.amax(dims, keepdim=True),
    "reduce_mean": lambda x, dims: x.mean(dims, keepdim=True),
    "reduce_min": lambda x, dims: x.amin(dims, keepdim=True),
    "reduce_prod": product,
    "reduce_sum": lambda x, dims: x.sum(dims, keepdim=True),
    "reduce_sum_square": lambda x, dims: x.square().sum(dims, keepdim=True),
}


@pytest.mark.parametrize("operator", REDUCTIONS)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), keep=st.booleans(), ios=IOS)
def test_reductions(operator: str, data: st.DataObject, keep: bool, ios: int) -> None:
    # Products of up to 81 values stay within float32.
    highest = 2 if operator == "reduce_prod" else 3
    x = data.draw(arrays(0.125 if operator == "reduce_log_sum" else -highest, highest))
    signed = st.lists(st.integers(-x.ndim, x.ndim - 1), min_size=1, unique_by=lambda a: a % x.ndim)
    axes = data.draw(st.none() | signed)
    dims = tuple(a % x.ndim for a in axes or range(x.ndim))
    expected = REDUCTIONS[operator](torch.from_numpy(x.astype(np.float64)), dims)
    if not keep:
        expected = expected.reshape([n for d, n in enumerate(x.shape) if d not in dims])
    given = {} if axes is None else {"axes": axes}
    agree(lambda x: getattr(mb, operator)(x=x, keep_dims=keep, **given), {"x": x}, expected, ios)


@pytest.mark.parametrize("operator", REDUCTIONS)
def test_integers(operator: str) -> None:
    x = np.array([[3, 1, 3], [7, 2, 9]], np.int32)
    exact = REDUCTIONS[operator](torch.from_numpy(x.astype(np.float64)), (1,))[:, 0]
    agree(lambda x: getattr(mb, operator)(x=x, axes=[1]), {"x": x}, np.trunc(exact).int())


def test_sums_of_integers_wrap() -> None:
    x = np.array([2**31 - 1, 1], np.int32)
    agree(lambda x: mb.reduce_sum(x=x), {"x": x}, np.int32(-(2**31)))


@pytest.mark.parametrize("operator", REDUCTIONS)
def test_defaults(operator: str) -> None:
    x = np.full((2, 3), 0.5, np.float32)
    result = call(operator, x=x)
    assert np.shape(result) == ()
    assert result.dtype == np.float32
    np.testing.assert_array_equal(
        result, call(operator, x=x, axes=np.array([0, 1]), keep_dims=False)
    )


def test_log_sum_exp_of_extremes() -> None:
    with np.errstate(divide="ignore"):
        x = np.array([[1e4, 1e4], [-1e4, -1e4], [-np.inf, -np.inf], [np.inf, 0]])
        result = call("reduce_log_sum_exp", x=x, axes=np.array([1]))
    np.testing.assert_allclose(result, [1e4 + np.log(2), -1e4 + np.log(2), -np.inf, np.inf])


@pytest.mark.parametrize("operator", ["argmax", "argmin"])
@settings(max_examples=20, deadline=None)
@given(
    data=st.data(),
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
    keep=st.booleans(),
    ios=IOS,
    dtype=st.sampled_from([np.float32, np.int32]),
)
def test_positions(
    operator: str,
    data: st.DataObject,
    shape: Dims,
    keep: bool,
    ios: int,
    dtype: type[np.generic],
) -> None:
    order = data.draw(st.permutations(range(int(np.prod(shape)))))
    x = np.array(order).reshape(shape).astype(dtype)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    wide = data.draw(st.sampled_from(["int32", "uint16"])) if ios >= 17 else ""
    given = {"output_dtype": wide} if wide else {}
    expected = getattr(torch, operator)(torch.from_numpy(x), axis, keepdim=keep)
    agree(
        lambda x: getattr(mb, f"reduce_{operator}")(x=x, axis=axis, keep_dims=keep, **given),
        {"x": x}, expected, ios,
    )  # fmt: skip


def test_positions_by_default() -> None:
    x = np.array([[1, 5, 2], [9, 0, 3]])
    assert call("reduce_argmax", x=x).tolist() == [1, 0]
    assert call("reduce_argmin", x=x).tolist() == [0, 1]


def test_positions_reject() -> None:
    with pytest.raises(RuntimeFailure, match="has the output_dtype 'int64', which is not known"):
        call("reduce_argmax", x=np.ones(2), output_dtype="int64")


@settings(max_examples=30, deadline=None)
@given(
    x=arrays() | arrays(-9, 9, dtype=np.int32),
    axis=st.integers(-1, 3),
    exclusive=st.booleans(),
    reverse=st.booleans(),
    ios=IOS,
)
def test_cumsum(x: Array, axis: int, exclusive: bool, reverse: bool, ios: int) -> None:
    axis = min(axis, x.ndim - 1)
    wide = torch.from_numpy(x if x.dtype == np.int32 else x.astype(np.float64))
    expected = torch.cumsum(wide.flip(axis) if reverse else wide, axis)
    expected = expected.flip(axis) if reverse else expected
    if exclusive:
        # coremltools' evaluation of exclusive sums raises a TypeError.
        np.testing.assert_allclose(
            call("cumsum", x=wide.numpy(), axis=axis, exclusive=True, reverse=reverse),
            expected - wide, rtol=1e-9, atol=1e-11,
        )  # fmt: skip
        return
    agree(lambda x: mb.cumsum(x=x, axis=axis, reverse=reverse), {"x": x}, expected, ios)


def test_exclusive_cumsum_is_still_not_evaluated() -> None:
    x = np.ones(3, np.float32)
    with pytest.raises(TypeError):
        oracle(lambda x: mb.cumsum(x=x, exclusive=True), {"x": x})
    np.testing.assert_array_equal(call("cumsum", x=x, exclusive=True), [0, 1, 2])


def test_cumsum_by_default() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    result = call("cumsum", x=x)
    assert result.dtype == np.float32
    assert result.tolist() == [[1, 2], [4, 6]]


@pytest.mark.parametrize("operator", ["reduce_mean", "reduce_sum", "reduce_l2_norm"])
def test_fp16(operator: str) -> None:
    x = np.random.default_rng(0).uniform(0.1, 1, (3, 400)).astype(np.float16)
    expected = REDUCTIONS[operator](torch.from_numpy(x.astype(np.float64)), (1,))
    build = lambda x: getattr(mb, operator)(x=x, axes=[1], keep_dims=True)  # noqa: E731
    rounds_once(build, {"x": x}, expected)
