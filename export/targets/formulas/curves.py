"""Functions of one number that cancel, overflow or are missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .registry import Number, formula

_ATEN = torch.ops.aten
_ROUNDED_AWAY = 15.0
"""From here on softplus(x) is x to 3e-7 of it, which float32 hardly holds."""


@formula(_ATEN.log1p.default)
def _log1p(x: Tensor) -> Tensor:
    """log(u) for u = 1 + x, less what rounding u added, which is all of a small x."""
    u = 1 + x
    return torch.log(u) - ((u - 1) - x) / u


@formula(_ATEN.expm1.default)
def _expm1(x: Tensor) -> Tensor:
    """tanh(x / 2) (e^x + 1), which does not cancel."""
    return torch.tanh(x * 0.5) * (torch.exp(x) + 1)


# Logarithms of sums: coremltools takes log(softmax(x)), which is -inf, or log 1e-45, far below the
# maximum.


@formula(_ATEN.log_softmax.int, _ATEN._log_softmax.default)
def _log_softmax(x: Tensor, dim: int, dtype: object = None) -> Tensor:
    if isinstance(dtype, torch.dtype):
        x = x.to(dtype)
    shifted: Tensor = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(shifted.exp().sum(dim, keepdim=True))


@formula(_ATEN.softplus.default)
def _softplus(x: Tensor, beta: Number = 1, threshold: Number = 20) -> Tensor:
    """relu(y) + log(1 + e^-|y|) for y = beta x, which overflows nowhere.

    Core ML's own was seen to give zero from 10.4 on the Neural Engine (apple/coremltools #2687).
    """
    y = x if beta == 1 else x * beta
    result = F.relu(y) + torch.log(1 + torch.exp(-torch.abs(y)))
    if threshold < _ROUNDED_AWAY:
        result = torch.where(y > threshold, y, result)
    return result if beta == 1 else result / beta


@formula(_ATEN.mish.default)
def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(_softplus(x))


@formula(_ATEN.log_sigmoid.default)
def _log_sigmoid(x: Tensor) -> Tensor:
    result: Tensor = -_softplus(-x)
    return result


@formula(_ATEN.hardtanh.default)
def _hardtanh(x: Tensor, low: Number = -1, high: Number = 1) -> Tensor:
    return torch.clamp(x, float(low), float(high))


@formula(_ATEN.hardshrink.default)
def _hardshrink(x: Tensor, limit: Number = 0.5) -> Tensor:
    return x.masked_fill(torch.abs(x) <= limit, 0.0)


@formula(_ATEN.celu.default)
def _celu(x: Tensor, alpha: Number = 1.0) -> Tensor:
    return F.relu(x) + alpha * F.elu(-F.relu(-x) / alpha)


@formula(_ATEN.erfc.default)
def _erfc(x: Tensor) -> Tensor:
    return 1 - torch.erf(x)


@formula(_ATEN.asinh.default)
def _asinh(x: Tensor) -> Tensor:
    """Of the magnitude, as x + sqrt(x^2 + 1) cancels below zero."""
    size = torch.abs(x)
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))


@formula(_ATEN.acosh.default)
def _acosh(x: Tensor) -> Tensor:
    return torch.log(x + torch.sqrt(x * x - 1))


@formula(_ATEN.hypot.default)
def _hypot(x: Tensor, y: Tensor) -> Tensor:
    return torch.sqrt(x * x + y * y)


@formula(_ATEN.copysign.Tensor, _ATEN.copysign.Scalar)
def _copysign(x: Tensor, y: Tensor | Number) -> Tensor:
    size = torch.abs(x)
    if isinstance(y, Tensor):
        return torch.where(y < 0, -size, size)
    return -size if math.copysign(1, y) < 0 else size
