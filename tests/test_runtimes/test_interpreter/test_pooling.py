"""Poolings against PyTorch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, interpret, mb
from torch.nn import functional as F

from care_mobile.errors import RuntimeFailure

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
POOLS = ["max_pool", "avg_pool", "l2_pool"]


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def torch_pool(
    operator: str, x: Array, pad: Any, kernel: Any, strides: Any, exclude: bool = False
) -> Array:
    """PyTorch's, on an input that is padded first."""
    flat = [amount for pair in reversed(list(zip(pad[::2], pad[1::2], strict=True)))
            for amount in pair]  # fmt: skip
    rank, given_x = x.ndim - 2, torch.from_numpy(x.astype(np.float64))
    if operator == "max_pool":
        return MAX[rank](F.pad(given_x, flat, value=-np.inf), kernel, strides).numpy()
    if operator == "l2_pool":
        squares = AVG[rank](F.pad(given_x**2, flat), kernel, strides) * np.prod(kernel)
        return squares.sqrt().numpy()
    averages = AVG[rank](F.pad(given_x, flat), kernel, strides)
    if exclude:
        averages /= AVG[rank](F.pad(torch.ones_like(given_x), flat), kernel, strides)
    return averages.numpy()


@st.composite
def windows(draw: st.DrawFn, max_rank: int = 3) -> dict[str, Any]:
    """Every window holds an element of the input."""
    rank = draw(st.integers(1, max_rank))

    def per_axis(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel = per_axis(1, 4)
    pad = [draw(st.integers(0, k - 1)) for k in kernel for _ in range(2)]
    sizes = [k + extra for k, extra in zip(kernel, per_axis(0, 4), strict=True)]
    return {"kernel": kernel, "pad": pad, "sizes": sizes, "strides": per_axis(1, 3)}


@settings(max_examples=40, deadline=None)
@given(windows(), st.sampled_from(POOLS), st.booleans(), st.sampled_from(["valid", "custom"]))
def test_pools_are_those_of_pytorch(
    case: dict[str, Any], operator: str, exclude: bool, kind: str
) -> None:
    assume(operator != "l2_pool" or len(case["sizes"]) < 3)
    x = noise(0, 2, 3, *case["sizes"])
    # What `pad` says counts with pad_type custom only.
    pad = case["pad"] if kind == "custom" else [0] * len(case["pad"])
    options = {"exclude_padding_from_average": exclude} if operator == "avg_pool" else {}
    agree(
        lambda x: getattr(mb, operator)(
            x=x, kernel_sizes=case["kernel"], strides=case["strides"], pad_type=kind,
            pad=case["pad"], **options,
        ),
        {"x": x},
        torch_pool(operator, x, pad, case["kernel"], case["strides"], exclude),
        evaluated=False,
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(windows(max_rank=2), st.sampled_from(["max_pool", "avg_pool"]), st.booleans())
def test_ceil_mode_but_for_the_overhang_is_that_of_pytorch(
    case: dict[str, Any], operator: str, exclude: bool
) -> None:
    rank, kernel, strides = len(case["sizes"]), case["kernel"], case["strides"]
    half = [min(before, k // 2) for before, k in zip(case["pad"][::2], kernel, strict=True)]
    for stride, k in zip(strides, kernel, strict=True):
        assume(stride <= k)
    x = noise(0, 1, 2, *case["sizes"])
    given_x = torch.from_numpy(x.astype(np.float64))
    if operator == "max_pool":
        expected = MAX[rank](given_x, kernel, strides, half, ceil_mode=True)
        options = {}
    else:
        # Core ML divides by the whole window where padding counts (apple/coremltools #2772).
        whole = None if exclude else 1
        expected = average(given_x, kernel, strides, half, exclude, whole)
        options = {"exclude_padding_from_average": exclude}
    agree(
        lambda x: getattr(mb, operator)(
            x=x, kernel_sizes=kernel, strides=strides, pad_type="custom", ceil_mode=True,
            pad=[p for p in half for _ in range(2)], **options,
        ),
        {"x": x}, expected.numpy(), evaluated=False,
    )  # fmt: skip


def average(
    x: torch.Tensor, kernel: Any, strides: Any, pad: Any, exclude: bool, whole: int | None
) -> torch.Tensor:
    """PyTorch's in `ceil_mode`; with `whole`, each divided by the whole window."""
    if whole is None:
        return AVG[x.dim() - 2](x, kernel, strides, pad, True, not exclude)
    sums = AVG[x.dim() - 2](x, kernel, strides, pad, True, True)
    ones = AVG[x.dim() - 2](torch.ones_like(x), kernel, strides, pad, True, True)
    inside = F.pad(torch.ones_like(x), [p for p in reversed(pad) for _ in range(2)])
    # How many of a window's places lie within input and padding: the divisor PyTorch used.
    sizes = [max(0, (n - 1) * s + k - m) for n, s, k, m in
             zip(ones.shape[2:], strides, kernel, inside.shape[2:], strict=True)]  # fmt: skip
    inside = F.pad(torch.ones_like(inside), [a for b in reversed(sizes) for a in (0, b)])
    within = tuple(slice(size) for size in ones.shape[2:])
    return sums * AVG[x.dim() - 2](inside, kernel, strides)[(..., *within)]


def test_ceil_mode_counts_the_overhang() -> None:
    """Apple's own numbers, from apple/coremltools PR #2844."""

    def pool(x: Any) -> Any:
        return mb.avg_pool(
            x=x, kernel_sizes=[2, 2], strides=[3, 3], pad_type="custom", pad=[0] * 4,
            ceil_mode=True,
        )  # fmt: skip

    x = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
    assert interpret(pool, {"x": x})[0, 0].tolist() == [
        [4, 7, 4.75],
        [25, 28, 15.25],
        [21.25, 22.75, 12],
    ]


def test_ceil_mode_counts_the_overhang_in_one_dimension() -> None:
    """AvgPool1d(2, 3, ceil_mode=True) of seven numbers, from the same PR."""
    values = {
        "x": np.arange(7, dtype=np.float32).reshape(1, 1, 7),
        "kernel_sizes": np.array([2]), "strides": np.array([3]), "ceil_mode": np.True_,
    }  # fmt: skip
    assert call("avg_pool", **values).ravel().tolist() == [0.5, 3.5, 3.0]
    excluded = call("avg_pool", **values, exclude_padding_from_average=np.True_)
    assert excluded.ravel().tolist() == [0.5, 3.5, 6.0]


def test_ceil_mode_without_padding_keeps_a_window_behind_the_input() -> None:
    """There the reference parts from PyTorch, which drops it; only strides over kernels do it."""
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    result = interpret(
        lambda x: mb.max_pool(x=x, kernel_sizes=[2], strides=[4], pad_type="valid", ceil_mode=True),
        {"x": x},
    )
    assert result.ravel().tolist() == [1, -np.inf]


@settings(max_examples=20, deadline=None)
@given(windows(), st.sampled_from(POOLS), st.booleans(), st.sampled_from(["same", "same_lower"]))
def test_same_pads_to_ceil_of_size_by_stride(
    case: dict[str, Any], operator: str, exclude: bool, kind: str
) -> None:
    assume(operator != "l2_pool" or len(case["sizes"]) < 3)
    pad: list[int] = []
    for size, k, stride in zip(case["sizes"], case["kernel"], case["strides"], strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + k - size)
        both = [total // 2, total - total // 2]
        pad += both if kind == "same" else both[::-1]
    x = noise(0, 1, 2, *case["sizes"])
    options = {"exclude_padding_from_average": exclude} if operator == "avg_pool" else {}
    agree(
        lambda x: getattr(mb, operator)(
            x=x, kernel_sizes=case["kernel"], strides=case["strides"], pad_type=kind, **options
        ),
        {"x": x},
        torch_pool(operator, x, pad, case["kernel"], case["strides"], exclude),
        ios=16,
        evaluated=False,
    )


def test_same_lower_puts_the_odd_element_first() -> None:
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    values = {"x": x, "kernel_sizes": np.array([2, 2]), "pad_type": np.asarray("same_lower")}
    assert call("avg_pool", **values).ravel().tolist() == [0.25, 0.75, 1, 2.5]
    assert call("max_pool", **values).ravel().tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(call("l2_pool", **values).ravel() ** 2, [1, 5, 10, 30], rtol=1e-6)


@pytest.mark.parametrize("operator", POOLS)
def test_defaults(operator: str) -> None:
    x = noise(0, 1, 2, 5, 6)
    result = call(operator, x=x, kernel_sizes=np.array([2, 3]))
    assert result.dtype == np.float32
    expected = torch_pool(operator, x, [0] * 4, [2, 3], [1, 1])
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_padding_counts_in_averages_by_default() -> None:
    values = {
        "x": np.ones((1, 1, 3)), "kernel_sizes": np.array([3]), "pad": np.array([1, 1]),
        "pad_type": np.asarray("custom"),
    }  # fmt: skip
    np.testing.assert_allclose(call("avg_pool", **values).ravel(), [2 / 3, 1, 2 / 3])
    excluded = call("avg_pool", **values, exclude_padding_from_average=np.True_)
    np.testing.assert_allclose(excluded.ravel(), [1, 1, 1])


@pytest.mark.parametrize("operator", POOLS)
def test_declared_rounds_at_the_end(operator: str) -> None:
    x = noise(0, 1, 3, 7, 9).astype(np.float16)
    rounds_once(
        lambda x: getattr(mb, operator)(
            x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]
        ),
        {"x": x},
        torch_pool(operator, x, [1] * 4, [3, 3], [2, 2]),
    )


@pytest.mark.parametrize(
    ("operator", "parameters", "message"),
    [
        ("max_pool", {"pad_type": "mirror"}, "pad_type 'mirror', which is not known"),
        ("avg_pool", {"pad_type": "same_lower", "opset": 5}, "iOS 15 does not have"),
        ("avg_pool", {"pad_type": "same", "ceil_mode": True}, "goes with the pad_type"),
        ("max_pool", {"pad_type": "custom", "ceil_mode": True, "pad": [0, 1, 0, 0]}, "symmetric"),
        ("l2_pool", {"x": np.zeros((1, 1, 2, 2, 2))}, "one or two spatial axes"),
        ("max_pool", {"kernel_sizes": [2]}, "kernel (2,) over 2"),
        ("max_pool", {"kernel_sizes": [2, 0]}, "kernel (2, 0)"),
        ("max_pool", {"kernel_sizes": [2, 9]}, "smaller input"),
        ("max_pool", {"strides": [2, 2, 2]}, "strides (2, 2, 2)"),
    ],
)
def test_refuses(operator: str, parameters: dict[str, Any], message: str) -> None:
    values = {"x": noise(0, 1, 2, 5, 6), "kernel_sizes": np.array([2, 3])}
    values |= {n: np.asarray(v) if n != "opset" else v for n, v in parameters.items()}
    with pytest.raises(RuntimeFailure) as error:
        call(operator, **values)
    assert message in str(error.value)
