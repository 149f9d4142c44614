"""Activations. `x` keeps its shape; alpha and beta are scalars, or one value per channel."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from ....coreml import TensorType
from ..numerics import AnyArray, Numerics
from ..registry import Arguments, kernel

_HALF_SOFTPLUS_ENDS = 15 * math.log(2)


@kernel("relu")
def relu(arguments: Arguments) -> AnyArray:
    return np.maximum(arguments.array("x"), 0)


@kernel("relu6")
def relu6(arguments: Arguments) -> AnyArray:
    return np.minimum(np.maximum(arguments.array("x"), 0), 6)


@kernel("leaky_relu")
def leaky_relu(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return np.where(x >= 0, x, x * arguments.number("alpha"))


@kernel("prelu")
def prelu(arguments: Arguments) -> AnyArray:
    """x (B, C, ...), alpha (C,)."""
    x = arguments.array("x")
    return np.where(x > 0, x, x * _per_channel(arguments, "alpha", x))


@kernel("clamped_relu")
def clamped_relu(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    y = np.where(x >= 0, x, x * arguments.number("alpha"))
    return np.minimum(y, arguments.number("beta"))


@kernel("thresholded_relu")
def thresholded_relu(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return np.where(x >= arguments.number("alpha"), x, 0)


@kernel("elu")
def elu(arguments: Arguments) -> AnyArray:
    """alpha * (e^x - 1) below zero, without the cancellation of the literal formula."""
    x = arguments.array("x")
    below = np.expm1(np.minimum(x, 0))
    below *= arguments.number("alpha")
    return np.where(x > 0, x, below)


@kernel("gelu")
def gelu(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    mode = arguments.text("mode", "EXACT")
    if mode == "EXACT":
        # The normal distribution: 1 + erf(x / sqrt 2), whose digits cancel for x < 0, halved.
        y: AnyArray = special.ndtr(x)
    elif mode == "TANH_APPROXIMATION":
        # (1 + tanh z) / 2 = sigmoid(2 z)
        y = np.square(x)
        y *= 0.044715
        y += 1
        y *= x
        y = _sigmoid(y, 2 * math.sqrt(2 / math.pi))
    elif mode == "SIGMOID_APPROXIMATION":
        y = _sigmoid(x, 1.702)
    else:
        raise arguments.fault(f"has the mode {mode!r}, which is not known")
    y *= x
    return y


@kernel("sigmoid")
def sigmoid(arguments: Arguments) -> AnyArray:
    return _sigmoid(arguments.array("x"))


@kernel("silu")
def silu(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    y = _sigmoid(x)
    y *= x
    return y


@kernel("sigmoid_hard")
def sigmoid_hard(arguments: Arguments) -> AnyArray:
    return np.minimum(np.maximum(_affine(arguments), 0), 1)


@kernel("linear_activation")
def linear_activation(arguments: Arguments) -> AnyArray:
    return _affine(arguments)


@kernel("scaled_tanh")
def scaled_tanh(arguments: Arguments) -> AnyArray:
    return np.tanh(arguments.array("x") * arguments.number("beta")) * arguments.number("alpha")


@kernel("softplus")
def softplus(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return _collapsed(arguments, x, _softplus(x))


@kernel("softplus_parametric")
def softplus_parametric(arguments: Arguments) -> AnyArray:
    """x (B, C, ...), alpha and beta (C,)."""
    x = arguments.array("x")
    scaled = x * _per_channel(arguments, "beta", x)
    y = _collapsed(arguments, scaled, _softplus(scaled))
    return y * _per_channel(arguments, "alpha", x)


@kernel("softsign")
def softsign(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return np.asarray(x / (1 + np.abs(x)))


def _sigmoid(x: AnyArray, scale: float = 1.0) -> AnyArray:
    """1 / (1 + e^(-scale * x)), in a new array."""
    y: AnyArray = np.exp(x * -scale)
    y += 1
    return np.reciprocal(y)


def _collapsed(arguments: Arguments, x: AnyArray, y: AnyArray) -> AnyArray:
    """Zero from 10.4 on in fp16, as the Neural Engine was seen to answer (coremltools #2687).

    Its e^x leaves the range there. The processor's own fp16 does not.
    """
    declared = arguments.operation.outputs[0].type
    in_half = isinstance(declared, TensorType) and declared.dtype == "fp16"
    if arguments.numerics is Numerics.EXACT or not in_half:
        return y
    return np.where(x > _HALF_SOFTPLUS_ENDS, 0, y)


def _softplus(x: AnyArray) -> AnyArray:
    """log(1 + e^x), which must not overflow."""
    y = np.log1p(np.exp(-np.abs(x)))
    return y + np.maximum(x, 0)


def _affine(arguments: Arguments) -> AnyArray:
    return arguments.array("x") * arguments.number("alpha") + arguments.number("beta")


def _per_channel(arguments: Arguments, name: str, x: AnyArray) -> AnyArray:
    """A (C,) parameter, to be broadcast over x (B, C, ...)."""
    values = arguments.array(name)
    if x.ndim < 2 or values.shape != (x.shape[1],):
        raise arguments.fault(f"has {name!r} of shape {values.shape} for x of shape {x.shape}")
    return values.reshape((-1,) + (1,) * (x.ndim - 2))
