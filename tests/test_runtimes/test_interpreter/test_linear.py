from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, mb
from torch import Tensor

from care_mobile.errors import RuntimeFailure

IOS = st.sampled_from([15, 16, 17, 18])
SEEDS = st.integers(0, 2**16)
SIZES = st.integers(1, 5)


def draw(seed: int, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def double(x: Array) -> Tensor:
    return torch.from_numpy(x.astype(np.float64))


@settings(max_examples=40, deadline=None)
@given(
    batch=hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, max_side=3),
    m=SIZES, k=SIZES, n=SIZES, transpose_x=st.booleans(), transpose_y=st.booleans(),
    seed=SEEDS, ios=IOS,
)  # fmt: skip
def test_matmul(
    batch: Any, m: int, k: int, n: int, transpose_x: bool, transpose_y: bool, seed: int, ios: int
) -> None:
    of_x, of_y = batch.input_shapes
    x, y = draw(
        seed,
        (*of_x, *((k, m) if transpose_x else (m, k))),
        (*of_y, *((n, k) if transpose_y else (k, n))),
    )
    left = double(x).mT if transpose_x else double(x)
    right = double(y).mT if transpose_y else double(y)
    flags = {"transpose_x": transpose_x, "transpose_y": transpose_y}
    agree(lambda x, y: mb.matmul(x=x, y=y, **flags), {"x": x, "y": y}, left @ right, ios)


@pytest.mark.parametrize(("of_x", "of_y"), [((4,), (4, 3)), ((2, 3, 4), (4,)), ((4,), (4,))])
def test_vectors_are_refused(of_x: tuple[int, ...], of_y: tuple[int, ...]) -> None:
    """The reference allows them, Core ML does not take them: apple/coremltools #2263."""
    x, y = draw(1, of_x, of_y)
    with pytest.raises(RuntimeFailure, match="Core ML takes no vector"):
        call("matmul", x=x, y=y)


def test_linear_of_integers_is_refused() -> None:
    """Such a program does not load: apple/coremltools #2575."""
    x = np.array([[1, -2], [3, 4]], np.int32)
    with pytest.raises(RuntimeFailure, match="multiplies integers"):
        call("linear", x=x, weight=x)


def test_matmul_of_integers() -> None:
    x = np.array([[1, -2], [3, 4]], np.int32)
    agree(lambda x: mb.matmul(x=x, y=x), {"x": x}, x @ x)


def test_matmul_by_constants_of_another_type() -> None:
    """Since iOS 17; the result has the type of what is no constant."""
    x, y = draw(2, (5, 16), (16, 3))
    half = x.astype(np.float16)
    rounds_once(lambda x: mb.matmul(x=x, y=y), {"x": half}, double(half) @ double(y))


@settings(max_examples=30, deadline=None)
@given(
    lead=st.lists(SIZES, max_size=2), sizes=st.tuples(SIZES, SIZES), bias=st.booleans(),
    seed=SEEDS, ios=IOS,
)  # fmt: skip
def test_linear(lead: list[int], sizes: tuple[int, int], bias: bool, seed: int, ios: int) -> None:
    wide, narrow = sizes
    x, weight, offset = draw(seed, (*lead, wide), (narrow, wide), (narrow,))
    expected = F.linear(double(x), double(weight), double(offset) if bias else None)
    given = {"bias": offset} if bias else {}
    agree(lambda x: mb.linear(x=x, weight=weight, **given), {"x": x}, expected, ios)


def test_linear_without_a_bias() -> None:
    x, weight = draw(3, (2, 4), (3, 4))
    result = call("linear", x=x, weight=weight)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, x @ weight.T)


def test_linear_fp16() -> None:
    x, weight, bias = (a.astype(np.float16) for a in draw(4, (5, 64), (7, 64), (7,)))
    expected = F.linear(double(x), double(weight), double(bias))
    build = lambda x: mb.linear(x=x, weight=weight, bias=bias)  # noqa: E731
    rounds_once(build, {"x": x}, expected)


@settings(max_examples=30, deadline=None)
@given(
    equation=st.sampled_from(["nchw,nwhu->nchu", "abcd,adcf->abcf", "chw,whr->chr"]),
    sizes=st.tuples(SIZES, SIZES, SIZES, SIZES, SIZES), single=st.integers(0, 4),
    seed=SEEDS, ios=IOS,
)  # fmt: skip
def test_einsum(equation: str, sizes: tuple[int, ...], single: int, seed: int, ios: int) -> None:
    n, c, h, w, u = sizes
    of_x, of_y = [n, c, h, w], [n, w, h, u]
    for of, axis in [(of_x, 0), (of_y, 0), (of_x, 2), (of_y, 2)][single : single + 1]:
        of[axis] = 1  # a batch axis that is broadcast
    rank = equation.index(",")
    x, y = draw(seed, tuple(of_x[-rank:]), tuple(of_y[-rank:]))
    expected = torch.einsum(equation, double(x), double(y))
    agree(lambda x, y: mb.einsum(values=(x, y), equation=equation), {"x": x, "y": y}, expected, ios)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("b h i d , b h j d -> b h i j", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("nchw,nwhu->nhcu", [(1, 2, 3, 4), (1, 4, 3, 5)]),
        ("ii->i", [(3, 3)]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
    ],
)
def test_other_equations(equation: str, shapes: list[tuple[int, ...]]) -> None:
    values = [array.astype(np.float64) for array in draw(5, *shapes)]
    expected = torch.einsum(equation, *map(torch.from_numpy, values))
    np.testing.assert_allclose(
        call("einsum", values=values, equation=equation), expected, atol=1e-12
    )


def test_einsum_fp16() -> None:
    x, y = (a.astype(np.float16) for a in draw(6, (2, 3, 4, 16), (2, 16, 4, 5)))
    equation = "nchw,nwhu->nchu"
    rounds_once(
        lambda x, y: mb.einsum(values=(x, y), equation=equation),
        {"x": x, "y": y}, torch.einsum(equation, double(x), double(y)),
    )  # fmt: skip
