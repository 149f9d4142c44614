"""Normalizations.

Written as the reference writes them: the mean is subtracted first. Folding it into the offset
would be faster, and wrong for large means in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("batch_norm")
def batch_norm(arguments: Arguments) -> AnyArray:
    """x (N, C, *D); mean, variance, gamma and beta (C,)."""
    x = arguments.array("x")
    mean, variance = arguments.array("mean"), arguments.array("variance")
    scale = 1 / np.sqrt(variance + arguments.number("epsilon", 1e-5))
    gamma = arguments.optional("gamma")
    if gamma is not None:
        scale = scale * gamma
    result = x - _channels(arguments, mean, x)
    result *= _channels(arguments, scale, x)
    beta = arguments.optional("beta")
    if beta is not None:
        result += _channels(arguments, beta, x)
    return result


@kernel("instance_norm")
def instance_norm(arguments: Arguments) -> AnyArray:
    """x (N, C, *D), normalized over *D; gamma and beta (C,)."""
    x = arguments.array("x")
    result = _standardize(x, range(2, x.ndim), arguments.number("epsilon", 1e-5))
    gamma, beta = arguments.optional("gamma"), arguments.optional("beta")
    if gamma is not None:
        result *= _channels(arguments, gamma, x)
    if beta is not None:
        result += _channels(arguments, beta, x)
    return result


@kernel("layer_norm")
def layer_norm(arguments: Arguments) -> AnyArray:
    """x of any shape, normalized over `axes` together; gamma and beta of the shape of those axes.

    gamma and beta list the axes in the order of x, whatever the order of `axes`.
    """
    x = arguments.array("x")
    given = arguments.integers("axes", range(x.ndim))
    if not given or not all(-x.ndim <= axis < x.ndim for axis in given):
        raise arguments.fault(f"has the axes {given} for an input {x.shape}")
    axes = sorted({axis % x.ndim for axis in given})
    result = _standardize(x, axes, arguments.number("epsilon", 1e-5))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    gamma, beta = arguments.optional("gamma"), arguments.optional("beta")
    if gamma is not None:
        result *= gamma.reshape(shape)
    if beta is not None:
        result += beta.reshape(shape)
    return result


@kernel("l2_norm")
def l2_norm(arguments: Arguments) -> AnyArray:
    """x (*B, C, H, W), divided by the norm of its last three axes."""
    x = arguments.array("x")
    if x.ndim < 3:
        raise arguments.fault(f"has an input {x.shape}; it normalizes three axes")
    squares = np.square(x).sum(axis=(-3, -2, -1), keepdims=True)
    squares += arguments.number("epsilon", 1e-6)
    result: AnyArray = x / np.sqrt(squares)
    return result


@kernel("local_response_norm")
def local_response_norm(arguments: Arguments) -> AnyArray:
    """x (N, C, *D), divided by a power of the mean square over `size` neighbouring channels.

    A window of even size reaches one channel further back than forward. Apple's own test of rank
    3 expects channels on axis 0 instead, where the reference has the batch; this is the reference.
    """
    x = arguments.array("x")
    size = arguments.integer("size")
    if size < 1 or x.ndim < 3:
        raise arguments.fault(f"takes {size} channels of an input {x.shape}")
    squares = np.square(x)
    sums = np.zeros_like(x)
    channels = x.shape[1]
    for offset in range(-(size // 2), (size + 1) // 2):
        first, stop = max(0, -offset), min(channels, channels - offset)
        if first < stop:
            sums[:, first:stop] += squares[:, first + offset : stop + offset]
    sums *= arguments.number("alpha", 1e-4) / size
    sums += arguments.number("k", 1.0)
    result: AnyArray = x / np.power(sums, arguments.number("beta", 0.75), out=sums)
    return result


def _standardize(x: AnyArray, axes: Sequence[int], epsilon: float) -> AnyArray:
    """A new array with mean 0 and variance 1 (less what epsilon does) over the axes."""
    result: AnyArray = x - x.mean(axis=tuple(axes), keepdims=True)
    variance = np.square(result).mean(axis=tuple(axes), keepdims=True)
    result /= np.sqrt(variance + epsilon)
    return result


def _channels(arguments: Arguments, values: AnyArray, x: AnyArray) -> AnyArray:
    """(C,) values, shaped to broadcast over x (N, C, *D)."""
    if values.shape != x.shape[1:2]:
        raise arguments.fault(f"has parameters of {values.shape} for an input {x.shape}")
    return values.reshape(-1, *(1,) * (x.ndim - 2))
