"""conv and conv_transpose against PyTorch in float64."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, interpret, mb
from torch.nn import functional as F

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics
from care_mobile.runtimes.interpreter.kernels import convolution

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def double(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float64))


def torch_conv(x: Array, weight: Array, bias: Array | None, pad: Any, **options: Any) -> Array:
    """PyTorch's, with padding before and after each axis."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    padded = F.pad(double(x), [amount for pair in reversed(pairs) for amount in pair])
    shift = None if bias is None else double(bias)
    return CONV[x.ndim - 2](padded, double(weight), shift, **options).numpy()


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Sizes that fit each other: kernels never are larger than the padded input."""
    rank = draw(st.integers(1, 3))

    def per_axis(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, dilations, pad = per_axis(1, 3), per_axis(1, 2), per_axis(0, 2, 2 * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return {
        "batch": draw(st.integers(1, 2)),
        "groups": draw(st.integers(1, 3)),
        "inputs": draw(st.integers(1, 3)),
        "outputs": draw(st.integers(1, 3)),
        "sizes": [extent + extra for extent, extra in zip(extents, per_axis(0, 4), strict=True)],
        "kernel": kernel,
        "pad": pad,
        "strides": per_axis(1, 3),
        "dilations": dilations,
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


@settings(max_examples=40, deadline=None)
@given(shapes())
def test_conv_is_that_of_pytorch(case: dict[str, Any]) -> None:
    groups, seed = case["groups"], case["seed"]
    x = noise(seed, case["batch"], groups * case["inputs"], *case["sizes"])
    weight = noise(seed + 1, groups * case["outputs"], case["inputs"], *case["kernel"])
    bias = noise(seed + 2, len(weight)) if case["bias"] else None
    options = {name: case[name] for name in ("strides", "dilations", "groups", "pad")}
    expected = torch_conv(
        x, weight, bias, case["pad"], stride=tuple(case["strides"]),
        dilation=tuple(case["dilations"]), groups=groups,
    )  # fmt: skip
    agree(
        lambda x: mb.conv(x=x, weight=weight, bias=bias, pad_type="custom", **options),
        {"x": x},
        expected,
        evaluated=False,
    )


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(3, 8), st.integers(1, 4), st.integers(1, 3)), min_size=1,
             max_size=2),
    st.sampled_from(["same", "same_lower"]),
)  # fmt: skip
def test_same_pads_to_ceil_of_size_by_stride(axes: list[Any], kind: str) -> None:
    sizes, kernel, strides = zip(*axes, strict=True)
    x, weight = noise(0, 1, 2, *sizes), noise(1, 3, 2, *kernel)
    pad: list[int] = []
    for size, taps, stride in axes:
        total = max(0, (-(-size // stride) - 1) * stride + taps - size)
        both = [total // 2, total - total // 2]
        pad += both if kind == "same" else both[::-1]
    expected = torch_conv(x, weight, None, pad, stride=strides)
    assert expected.shape[2:] == tuple(-(-size // stride) for size, _, stride in axes)
    agree(
        lambda x: mb.conv(x=x, weight=weight, pad_type=kind, strides=strides),
        {"x": x}, expected, ios=16, evaluated=False,
    )  # fmt: skip


def test_same_is_pytorchs_same_for_even_kernels() -> None:
    """An independent word on which side gets the odd element."""
    x, weight = noise(0, 1, 1, 4, 5), noise(1, 1, 1, 2, 4)
    expected = F.conv2d(double(x), double(weight), padding="same").numpy()
    agree(
        lambda x: mb.conv(x=x, weight=weight, pad_type="same"), {"x": x}, expected,
        evaluated=False,
    )  # fmt: skip


def test_weight_and_bias_may_be_computed_and_have_their_own_type() -> None:
    x, weight, bias = noise(0, 2, 3, 5, 6), noise(1, 4, 3, 3, 3), noise(2, 4)

    def build(x: Any, weight: Any) -> Any:
        return mb.conv(x=x, weight=mb.relu(x=weight), bias=bias)

    expected = torch_conv(x, np.maximum(weight, 0), bias, [0] * 4)
    agree(build, {"x": x, "weight": weight}, expected, evaluated=False)


@pytest.mark.parametrize("path", ["_CHUNK_BYTES", "_COLUMNS_BYTES"])
def test_chunks_do_not_change_the_result(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one channel, and of 64 columns, which is the least, give what a whole gives."""
    groups = 5 if path == "_CHUNK_BYTES" else 1
    x, weight = noise(0, 2, 5, 17, 19), noise(1, 10, 5 // groups, 3, 2)
    whole = call("conv", x=x, weight=weight, groups=groups)
    monkeypatch.setattr(convolution, path, 1)
    parts = call("conv", x=x, weight=weight, groups=groups)
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-6)
    expected = torch_conv(x, weight, None, [0] * 4, groups=groups)
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("groups", "kernel", "strides"),
    [
        (1, (1, 1), 1),
        (2, (1, 1), 2),
        (6, (3, 3), 1),
        (6, (7, 1), 2),
        (1, (3, 3), 2),
        (3, (2, 3), 1),
    ],
)
def test_declared_rounds_at_the_end(groups: int, kernel: tuple[int, int], strides: int) -> None:
    x = noise(0, 1, 6, 9, 8).astype(np.float16)
    weight, bias = (a.astype(np.float16) for a in (noise(1, 6, 6 // groups, *kernel), noise(2, 6)))
    expected = torch_conv(x, weight, bias, [1, 2, 0, 1], stride=strides, groups=groups)
    rounds_once(
        lambda x: mb.conv(
            x=x, weight=weight, bias=bias, groups=groups, strides=[strides] * 2,
            pad_type="custom", pad=[1, 2, 0, 1],
        ),
        {"x": x}, expected,
    )  # fmt: skip


def test_working_type_is_kept() -> None:
    x, weight = noise(0, 1, 4, 5, 5), noise(1, 4, 1, 3, 3)
    for kind in (np.float32, np.float64):
        values = {"x": x.astype(kind), "weight": weight.astype(kind)}
        assert call("conv", **values, groups=4).dtype == kind
        assert call("conv", **values | {"x": values["x"][:, :1]}).dtype == kind
        assert call("conv_transpose", **values).dtype == kind


def test_conv_defaults() -> None:
    x, weight = noise(0, 2, 3, 6, 5), noise(1, 4, 3, 3, 2)
    expected = torch_conv(x, weight, None, [0] * 4)
    result = call("conv", x=x.astype(np.float64), weight=weight.astype(np.float64))
    np.testing.assert_allclose(result, expected, rtol=1e-9)
    unpadded = call("conv", x=x, weight=weight, pad_type="custom")
    assert unpadded.shape == expected.shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pad_type": "mirror"}, "pad_type 'mirror', which is not known"),
        ({"pad_type": "same_lower", "opset": 5}, "iOS 15 does not have"),
        ({"groups": 2}, "2 groups for an input"),
        ({"groups": 0}, "0 groups"),
        ({"strides": [1]}, "strides (1,) over 2"),
        ({"strides": [0, 1]}, "strides (0, 1)"),
        ({"dilations": [1, -1]}, "dilations (1, -1)"),
        ({"dilations": [9, 1]}, "smaller input"),
        ({"pad_type": "custom", "pad": [1, 1]}, "pad (1, 1) over 2"),
        ({"pad_type": "custom", "pad": [0, 0, -1, 0]}, "pad (0, 0, -1, 0)"),
        ({"bias": np.zeros(3)}, "bias of (3,) for 4 channels"),
    ],
)
def test_conv_refuses(parameters: dict[str, Any], message: str) -> None:
    values = {n: np.asarray(v) if n != "opset" else v for n, v in parameters.items()}
    with pytest.raises(RuntimeFailure) as error:
        call("conv", x=noise(0, 1, 3, 6, 5), weight=noise(1, 4, 3, 3, 2), **values)
    assert message in str(error.value)


def torch_transposed(
    x: Array, weight: Array, bias: Array | None, cut: Any, outputs: Any, **options: Any
) -> Array:
    """PyTorch's unpadded one; `cut` off before each axis, then cut or filled up to `outputs`."""
    rank = x.ndim - 2
    full = TRANSPOSED[rank](double(x), double(weight), **options).numpy()
    for axis, (before, output) in enumerate(zip(cut, outputs, strict=True), 2):
        kept = full.take(range(before, min(full.shape[axis], before + output)), axis)
        widths = [(0, 0)] * full.ndim
        widths[axis] = (0, output - kept.shape[axis])
        full = np.pad(kept, widths)
    if bias is not None:
        full = full + bias.reshape(-1, *(1,) * rank).astype(np.float64)
    return full


@settings(max_examples=40, deadline=None)
@given(shapes(), st.sampled_from(["valid", "same", "custom"]))
def test_conv_transpose_is_that_of_pytorch(case: dict[str, Any], kind: str) -> None:
    groups, seed, pad = case["groups"], case["seed"], case["pad"]
    x = noise(seed, case["batch"], groups * case["inputs"], *case["sizes"])
    weight = noise(seed + 1, groups * case["inputs"], case["outputs"], *case["kernel"])
    bias = noise(seed + 2, groups * case["outputs"]) if case["bias"] else None
    outputs, cut = [], []
    axes = zip(
        case["sizes"], case["kernel"], case["strides"], case["dilations"], pad[::2], pad[1::2],
        strict=True,
    )  # fmt: skip
    for size, k, stride, dilation, before, after in axes:
        full = (size - 1) * stride + (k - 1) * dilation + 1
        if kind == "same":
            outputs.append(size * stride)
            cut.append(max(0, full - size * stride) // 2)
        else:
            outputs.append(full - (before + after if kind == "custom" else 0))
            cut.append(before if kind == "custom" else 0)
    if min(outputs) < 1:
        return
    options = {"strides": case["strides"], "dilations": case["dilations"], "groups": groups}
    expected = torch_transposed(
        x, weight, bias, cut, outputs, stride=tuple(case["strides"]),
        dilation=tuple(case["dilations"]), groups=groups,
    )  # fmt: skip
    agree(
        lambda x: mb.conv_transpose(
            x=x, weight=weight, bias=bias, pad_type=kind, pad=pad, **options
        ),
        {"x": x},
        expected,
        evaluated=False,
    )


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), list(product([5, 6, 7], [2, 3, 4], [1, 2, 3]))
)
def test_same_transposed_is_the_gradient_of_same(size: int, kernel: int, stride: int) -> None:
    """`output_shape` tells which of the sizes that lead to the input's is meant."""
    x, weight = noise(0, 1, 2, size), noise(1, 3, 2, kernel)
    outputs = -(-size // stride)
    seen = interpret(
        lambda x: mb.conv(x=x, weight=weight, strides=[stride], pad_type="same"), {"x": x}
    )
    given_back = noise(2, 1, 3, outputs)
    gradient = interpret(
        lambda y: mb.conv_transpose(
            x=y, weight=weight, strides=[stride], pad_type="same", output_shape=[1, 2, size]
        ),
        {"y": given_back},
    )
    assert gradient.shape == x.shape
    assert np.vdot(gradient, x) == pytest.approx(np.vdot(given_back, seen), rel=1e-9)


def test_conv_transpose_of_a_converted_pytorch_network_keeps_output_padding() -> None:
    """The converter cuts a larger output down with `crop`; here `output_shape` does it."""
    x, weight = noise(0, 1, 2, 5, 4), noise(1, 2, 3, 3, 3)
    expected = F.conv_transpose2d(
        double(x), double(weight), stride=2, padding=1, output_padding=1
    ).numpy()
    agree(
        lambda x: mb.conv_transpose(
            x=x, weight=weight, strides=[2, 2], pad_type="custom", pad=[1] * 4,
            output_shape=expected.shape,
        ),
        {"x": x}, expected, evaluated=False,
    )  # fmt: skip


def test_conv_transpose_defaults_and_declared() -> None:
    x, weight = (a.astype(np.float16) for a in (noise(0, 2, 3, 6, 5), noise(1, 3, 4, 3, 2)))
    expected = F.conv_transpose2d(double(x), double(weight)).numpy()
    exact = call("conv_transpose", x=x.astype(np.float64), weight=weight.astype(np.float64))
    np.testing.assert_allclose(exact, expected, rtol=1e-9)
    rounds_once(lambda x: mb.conv_transpose(x=x, weight=weight), {"x": x}, expected)
    declared = interpret(
        lambda x: mb.conv_transpose(x=x, weight=weight), {"x": x}, Numerics.DECLARED
    )
    assert declared.dtype == np.float32


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pad_type": "same_lower"}, "pad_type 'same_lower', which is not known"),
        ({"groups": 2}, "2 groups for an input"),
        ({"output_shape": [6, 7]}, "output_shape (6, 7) for 2"),
        ({"output_shape": [1, 4, 0, 7]}, "sizes (0, 7)"),
        ({"pad_type": "custom", "pad": [9, 9, 0, 0]}, "cuts its output"),
        ({"pad_type": "custom", "pad": [9, 9]}, "pad (9, 9) over 2"),
        ({"strides": [2]}, "strides (2,) over 2"),
    ],
)
def test_conv_transpose_refuses(parameters: dict[str, Any], message: str) -> None:
    values = {name: np.asarray(value) for name, value in parameters.items()}
    with pytest.raises(RuntimeFailure) as error:
        call("conv_transpose", x=noise(0, 1, 3, 6, 5), weight=noise(1, 3, 4, 3, 2), **values)
    assert message in str(error.value)
