from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kernel_calls import agree, arrays, call, numbers, rounds_once, run
from ml_programs import Array, interpret, mb, oracle
from torch import Tensor

from care_mobile.errors import RuntimeFailure

IOS = st.sampled_from([15, 16, 17, 18])
SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=1, max_dims=4, max_side=4)

UNARY: dict[str, tuple[float, float]] = {
    "abs": (-10, 10),
    "acos": (-0.99, 0.99),
    "asin": (-0.99, 0.99),
    "atan": (-10, 10),
    "atanh": (-0.9, 0.9),
    "ceil": (-10, 10),
    "cos": (-10, 10),
    "cosh": (-5, 5),
    "erf": (-5, 5),
    "exp": (-5, 5),
    "exp2": (-5, 5),
    "floor": (-10, 10),
    "round": (-10, 10),
    "sign": (-10, 10),
    "sin": (-10, 10),
    "sinh": (-5, 5),
    "sqrt": (0, 10),
    "square": (-10, 10),
    "tan": (-1.4, 1.4),
    "tanh": (-10, 10),
}
"""With the domain that is tried."""
BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "floor_div": torch.floor_divide,
    "mod": torch.fmod,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
EPSILONS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "inverse": (1e-4, torch.reciprocal),
    "rsqrt": (1e-12, torch.rsqrt),
    "log": (1e-45, torch.log),
}


def double(x: Array) -> Tensor:
    return torch.from_numpy(x.astype(np.float64))


@pytest.mark.parametrize("operator", UNARY)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), ios=IOS)
def test_unary(operator: str, data: st.DataObject, ios: int) -> None:
    x = data.draw(arrays(*UNARY[operator]))
    expected = getattr(torch, operator)(double(x))
    agree(lambda x: getattr(mb, operator)(x=x), {"x": x}, expected, ios)


@pytest.mark.parametrize("operator", ["abs", "sign", "square", "exp2"])
def test_unary_of_integers(operator: str) -> None:
    x = np.array([[-3, 0, 7]], np.int32)
    expected = np.trunc(getattr(np, operator)(x))
    agree(lambda x: getattr(mb, operator)(x=x), {"x": x}, expected)


def test_halves_round_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    agree(lambda x: mb.round(x=x), {"x": x}, [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0])


@pytest.mark.parametrize("operator", EPSILONS)
@settings(max_examples=15, deadline=None)
@given(x=arrays(0.125, 10), epsilon=st.none() | numbers(0, 1), ios=IOS)
def test_epsilon(operator: str, x: Array, epsilon: float | None, ios: int) -> None:
    default, function = EPSILONS[operator]
    given = {} if epsilon is None else {"epsilon": epsilon}
    added = float(np.float32(default if epsilon is None else epsilon))
    agree(lambda x: getattr(mb, operator)(x=x, **given), {"x": x}, function(double(x) + added), ios)


@pytest.mark.parametrize("operator", EPSILONS)
@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_default_epsilon(operator: str, dtype: str) -> None:
    """It has the type of x: in fp16, 1e-12 and 1e-45 are zero."""
    default, function = EPSILONS[operator]
    kind = {"fp16": np.float16, "fp32": np.float32}[dtype]
    expected = function(double(np.zeros(1)) + float(np.asarray(default).astype(kind)))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(call(operator, declared=dtype, x=np.zeros(1)), expected)
    files = interpret(lambda x: getattr(mb, operator)(x=x), {"x": np.zeros(1, kind)})
    np.testing.assert_allclose(files, expected)


@pytest.mark.parametrize("operator", BINARY)
@settings(max_examples=15, deadline=None)
@given(shapes=SHAPES, data=st.data(), ios=IOS)
def test_binary(operator: str, shapes: Any, data: st.DataObject, ios: int) -> None:
    x = data.draw(arrays(shape=shapes.input_shapes[0]))
    y = data.draw(arrays(0.125, 4, shape=shapes.input_shapes[1]))
    y *= data.draw(st.sampled_from([np.float32(-1), np.float32(1)]))
    expected = BINARY[operator](double(x), double(y))
    if operator == "mod":  # coremltools evaluates it as Core ML does not
        result = run(lambda x, y: mb.mod(x=x, y=y), {"x": x, "y": y}, ios=ios)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11)
        return
    agree(lambda x, y: getattr(mb, operator)(x=x, y=y), {"x": x, "y": y}, expected, ios)


@pytest.mark.parametrize("operator", BINARY)
@settings(max_examples=10, deadline=None)
@given(
    x=arrays(-(2**31), 2**31 - 1, shape=(2, 3), dtype=np.int32),
    y=arrays(1, 9, shape=(3,), dtype=np.int32),
    sign=st.sampled_from([-1, 1]),
)
def test_binary_of_integers(operator: str, x: Array, y: Array, sign: int) -> None:
    y = y * np.int32(sign)
    if operator == "real_div":
        x = x // 16  # one quotient has no 32-bit value
        expected = torch.div(torch.from_numpy(x), torch.from_numpy(y), rounding_mode="trunc")
    else:
        x = x // 16 if operator == "floor_div" else x
        expected = BINARY[operator](torch.from_numpy(x), torch.from_numpy(y))
    build = lambda x, y: getattr(mb, operator)(x=x, y=y)  # noqa: E731
    result = interpret(build, {"x": x, "y": y})
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, expected)
    if operator != "mod":  # coremltools evaluates it as Core ML does not
        np.testing.assert_array_equal(result, np.trunc(oracle(build, {"x": x, "y": y})))


def test_a_remainder_has_the_sign_of_the_dividend() -> None:
    """As seen on Core ML in kasper0406/stablehlo-coreml PR #70; quotients are floored there."""
    x, y = np.array([-7, 7, -5, 5], np.int32), np.array([2, -2, 3, -3], np.int32)
    values = {"x": x, "y": y}
    assert interpret(lambda x, y: mb.mod(x=x, y=y), values).tolist() == [-1, 1, -2, 2]
    assert interpret(lambda x, y: mb.floor_div(x=x, y=y), values).tolist() == [-4, -4, -2, -2]


@settings(max_examples=15, deadline=None)
@given(shapes=SHAPES, data=st.data(), ios=IOS)
def test_pow(shapes: Any, data: st.DataObject, ios: int) -> None:
    x = data.draw(arrays(0.125, 4, shape=shapes.input_shapes[0]))
    y = data.draw(arrays(-3, 3, shape=shapes.input_shapes[1]))
    expected = torch.pow(double(x), double(y))
    agree(lambda x, y: mb.pow(x=x, y=y), {"x": x, "y": y}, expected, ios)


@pytest.mark.parametrize("exponent", [2.0, 3.0, -1.0, 0.5])
def test_pow_by_a_constant(exponent: float) -> None:
    x = np.array([0.5, 1.0, 3.0], np.float32)
    agree(lambda x: mb.pow(x=x, y=exponent), {"x": x}, x.astype(np.float64) ** exponent)
    assert call("pow", x=x, y=np.float32(exponent)).dtype == np.float32


def test_pow_of_integers() -> None:
    x, y = np.array([2, -3, 1, 2], np.int32), np.array([10, 3, 7, 0], np.int32)
    agree(lambda x, y: mb.pow(x=x, y=y), {"x": x, "y": y}, [1024, -27, 1, 1])
    result = interpret(lambda x, y: mb.pow(x=x, y=y), {"x": x, "y": -y})
    assert result.tolist() == [0, 0, 1, 1]


@settings(max_examples=15, deadline=None)
@given(x=arrays(), low=numbers(-5, 0), width=numbers(0.5, 5), ios=IOS)
def test_clip(x: Array, low: float, width: float, ios: int) -> None:
    low, high = float(np.float32(low)), float(np.float32(low + width))
    expected = double(x).clamp(low, high)
    agree(lambda x: mb.clip(x=x, alpha=low, beta=high), {"x": x}, expected, ios)


@pytest.mark.parametrize("ios", [15, 16])
def test_empty_clip(ios: int) -> None:
    x = np.array([-3.0, 3.0], np.float32)
    agree(lambda x: mb.clip(x=x, alpha=1.0, beta=-1.0), {"x": x}, [-1.0, -1.0], ios)
    with pytest.raises(RuntimeFailure, match=r"clip 'y' clips to \[1, -1\], which is empty"):
        call("clip", opset=7, x=x, alpha=1.0, beta=-1.0)


@settings(max_examples=10, deadline=None)
@given(x=arrays(), alpha=numbers(-5, 5), ios=IOS)
def test_threshold(x: Array, alpha: float, ios: int) -> None:
    expected = double(x).clamp(min=alpha)
    agree(lambda x: mb.threshold(x=x, alpha=alpha), {"x": x}, expected, ios)


def test_threshold_of_integers() -> None:
    x = np.array([-3, 5], np.int32)
    agree(lambda x: mb.threshold(x=x, alpha=np.int32(2)), {"x": x}, [2, 5])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.bool_])
def test_identity(dtype: type[np.generic]) -> None:
    x = np.array([[0, 1, 3]]).astype(dtype)
    agree(lambda x: mb.identity(x=x), {"x": x}, x)


TORCH = {
    "fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool,
    "int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "uint16": torch.uint16,
}  # fmt: skip
FIRST = ["fp16", "fp32", "int32", "bool"]


@pytest.mark.parametrize("ios", [15, 16, 17, 18])
@pytest.mark.parametrize("source", [np.float16, np.float32, np.int32, np.bool_])
def test_cast(source: type[np.generic], ios: int) -> None:
    x = np.array([0.0, 0.75, 1.5, 2.5, 100.25]).astype(source)
    for name in FIRST if ios < 17 else TORCH:
        expected = torch.from_numpy(x).to(TORCH[name])
        expected = expected.double() if expected.is_floating_point() else expected
        agree(lambda x, name=name: mb.cast(x=x, dtype=name), {"x": x}, expected, ios)


def test_cast_of_negative_numbers() -> None:
    x = np.array([-2.75, -0.5, 2.75], np.float32)
    agree(lambda x: mb.cast(x=x, dtype="int32"), {"x": x}, [-2, 0, 2])
    agree(lambda x: mb.cast(x=x, dtype="bool"), {"x": x}, [True, True, True])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int8", [-128, 127, 127, -128, 0]),
        ("uint8", [0, 255, 255, 0, 0]),
        ("uint16", [0, 65535, 65535, 0, 0]),
        ("int32", [-(2**31), 2**31 - 1, 2**31 - 1, -(2**31), 0]),
    ],
)
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_cast_saturates(dtype: str, expected: list[int], source: type[np.generic]) -> None:
    x = np.array([-1e10, 1e10, np.inf, -np.inf, np.nan]).astype(source)
    assert call("cast", x=x, dtype=dtype).tolist() == expected


def test_cast_rejects() -> None:
    with pytest.raises(RuntimeFailure, match="'int8', which is not known before iOS 17"):
        call("cast", opset=6, x=np.ones(1), dtype="int8")
    with pytest.raises(RuntimeFailure, match=r"has the dtype 'fp8', which is not known$"):
        call("cast", x=np.ones(1), dtype="fp8")


@pytest.mark.parametrize("operator", [*UNARY, "log", "rsqrt", "inverse"])
def test_working_type(operator: str) -> None:
    """float32 stays float32: nothing is computed in float64 in the declared mode."""
    assert call(operator, x=np.full(2, 0.5, np.float32)).dtype == np.float32


@pytest.mark.parametrize("operator", ["exp", "erf", "tanh", "inverse", "rsqrt"])
def test_fp16(operator: str) -> None:
    x = np.linspace(0.01, 8, 999).astype(np.float16)
    if operator in EPSILONS:
        default, function = EPSILONS[operator]
        expected = function(double(x) + float(np.float16(default)))
    else:
        expected = getattr(torch, operator)(double(x))
    rounds_once(lambda x: getattr(mb, operator)(x=x), {"x": x}, expected)


def test_epsilon_of_another_type() -> None:
    """Since iOS 17 epsilon may be fp32 where x is fp16, and is then not lost."""
    x, epsilon = np.zeros(3, np.float16), np.float32(1e-8)
    rounds_once(lambda x: mb.rsqrt(x=x, epsilon=epsilon), {"x": x}, np.full(3, 1e4))
