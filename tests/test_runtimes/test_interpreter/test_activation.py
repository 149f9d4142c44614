from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, arrays, call, numbers, rounds_once
from ml_programs import Array, interpret, mb
from torch import Tensor

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

IOS = st.sampled_from([15, 16, 17, 18])

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": lambda x: F.softplus(x, threshold=100),
    "softsign": F.softsign,
    "gelu": F.gelu,
}
WITH_ALPHA: dict[str, Callable[[Tensor, float], Tensor]] = {
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "thresholded_relu": lambda x, a: torch.where(x >= a, x, 0.0),
}
WITH_ALPHA_AND_BETA: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "clamped_relu": lambda x, a, b: torch.where(x >= 0, x, a * x).clamp(max=b),
    "linear_activation": lambda x, a, b: a * x + b,
    "scaled_tanh": lambda x, a, b: a * torch.tanh(b * x),
    "sigmoid_hard": lambda x, a, b: (a * x + b).clamp(0, 1),
}
GELU: dict[str, Callable[[Tensor], Tensor]] = {
    "EXACT": F.gelu,
    "TANH_APPROXIMATION": lambda x: F.gelu(x, approximate="tanh"),
    "SIGMOID_APPROXIMATION": lambda x: x * torch.sigmoid(1.702 * x),
}


def double(x: Array) -> Tensor:
    return torch.from_numpy(x.astype(np.float64))


@pytest.mark.parametrize("operator", PLAIN)
@settings(max_examples=15, deadline=None)
@given(x=arrays(), ios=IOS)
def test_plain(operator: str, x: Array, ios: int) -> None:
    expected = PLAIN[operator](double(x))
    has_value = operator != "silu"
    agree(lambda x: getattr(mb, operator)(x=x), {"x": x}, expected, ios, evaluated=has_value)


@pytest.mark.parametrize("operator", WITH_ALPHA)
@settings(max_examples=15, deadline=None)
@given(x=arrays(), alpha=numbers(-2, 2), ios=IOS)
def test_alpha(operator: str, x: Array, alpha: float, ios: int) -> None:
    expected = WITH_ALPHA[operator](double(x), alpha)
    agree(lambda x: getattr(mb, operator)(x=x, alpha=alpha), {"x": x}, expected, ios)


@pytest.mark.parametrize("operator", WITH_ALPHA_AND_BETA)
@settings(max_examples=15, deadline=None)
@given(x=arrays(), alpha=numbers(-2, 2), beta=numbers(0, 2), ios=IOS)
def test_alpha_and_beta(operator: str, x: Array, alpha: float, beta: float, ios: int) -> None:
    expected = WITH_ALPHA_AND_BETA[operator](double(x), alpha, beta)
    agree(lambda x: getattr(mb, operator)(x=x, alpha=alpha, beta=beta), {"x": x}, expected, ios)


def test_clamped_relu_below_zero() -> None:
    """coremltools' evaluation counts a negative beta twice; its reference does not."""
    x = np.array([-3.0, 0.0, 4.0])
    assert call("clamped_relu", x=x, alpha=2.0, beta=-1.0).tolist() == [-6.0, -1.0, -1.0]


@pytest.mark.parametrize("mode", GELU)
@settings(max_examples=15, deadline=None)
@given(x=arrays(), ios=IOS)
def test_gelu_modes(mode: str, x: Array, ios: int) -> None:
    agree(lambda x: mb.gelu(x=x, mode=mode), {"x": x}, GELU[mode](double(x)), ios)


@settings(max_examples=15, deadline=None)
@given(x=arrays(shape=(2, 3, 2, 2)), slopes=arrays(-2, 2, shape=(3,)), ios=IOS)
def test_prelu(x: Array, slopes: Array, ios: int) -> None:
    expected = F.prelu(double(x), double(slopes))
    agree(lambda x: mb.prelu(x=x, alpha=slopes), {"x": x}, expected, ios)


@pytest.mark.parametrize("shape", [(1, 3, 2), (2, 3, 1, 2, 2)])
def test_prelu_of_other_ranks(shape: tuple[int, ...]) -> None:
    x = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    slopes = np.full(3, 0.25, np.float32)
    agree(lambda x: mb.prelu(x=x, alpha=slopes), {"x": x}, np.where(x > 0, x, 0.25 * x))


@settings(max_examples=15, deadline=None)
@given(
    x=arrays(shape=(2, 3, 2, 2)),
    alpha=arrays(-2, 2, shape=(3,)),
    beta=arrays(-2, 2, shape=(3,)),
    ios=IOS,
)
def test_softplus_parametric(x: Array, alpha: Array, beta: Array, ios: int) -> None:
    a, b = (double(v).reshape(1, 3, 1, 1) for v in (alpha, beta))
    expected = a * F.softplus(b * double(x), threshold=100)
    agree(lambda x: mb.softplus_parametric(x=x, alpha=alpha, beta=beta), {"x": x}, expected, ios)


def test_extremes() -> None:
    x = np.array([-1e4, 1e4], np.float32)
    expected = {
        "sigmoid": [0, 1],
        "silu": [0, 1e4],
        "gelu": [0, 1e4],
        "elu": [-1, 1e4],
        "softplus": [0, 1e4],
    }
    for operator, values in expected.items():
        with np.errstate(over="ignore"):
            result = call(operator, x=x, **({"alpha": 1.0} if operator == "elu" else {}))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, values, err_msg=operator)


@pytest.mark.parametrize("operator", ["gelu", "sigmoid", "silu", "softplus"])
def test_fp16(operator: str) -> None:
    x = np.linspace(-8, 8, 999).astype(np.float16)
    rounds_once(lambda x: getattr(mb, operator)(x=x), {"x": x}, PLAIN[operator](double(x)))


def test_softplus_ends_in_half_precision() -> None:
    """apple/coremltools #2687: right at 10, zero at 10.5 and above, in fp16 only."""
    x = np.array([8, 9, 10, 10.5, 11, 50], np.float16)
    half = interpret(lambda x: mb.softplus(x=x), {"x": x}, Numerics.DECLARED)
    assert half[3:].tolist() == [0, 0, 0]
    np.testing.assert_allclose(half[:3], F.softplus(double(x[:3])), rtol=1e-3)
    exact = interpret(lambda x: mb.softplus(x=x), {"x": x}, Numerics.EXACT)
    np.testing.assert_allclose(exact, F.softplus(double(x)), rtol=1e-3)
    single = interpret(lambda x: mb.softplus(x=x), {"x": x.astype(np.float32)}, Numerics.DECLARED)
    np.testing.assert_allclose(single, F.softplus(double(x)), rtol=1e-5)


def test_parameters_of_another_type() -> None:
    """Since iOS 17 alpha may be fp32 where x is fp16."""
    x, alpha = np.linspace(-8, 8, 99).astype(np.float16), np.float32(0.3)
    rounds_once(lambda x: mb.elu(x=x, alpha=alpha), {"x": x}, F.elu(double(x), float(alpha)))


def test_defaults() -> None:
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(call("gelu", x=x), call("gelu", x=x, mode="EXACT"))


def test_rejected() -> None:
    with pytest.raises(RuntimeFailure, match="gelu 'y' has the mode 'QUICK', which is not known"):
        call("gelu", x=np.ones(2), mode="QUICK")
    with pytest.raises(RuntimeFailure, match=r"has 'alpha' of shape \(2,\) for x of shape"):
        call("prelu", x=np.ones((1, 3, 2, 2)), alpha=np.ones(2))
    with pytest.raises(RuntimeFailure, match="has 0 values for 'alpha', not one"):
        call("elu", x=np.ones(2))
