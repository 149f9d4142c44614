"""Normalisations and spreads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .registry import Number, formula

_ATEN = torch.ops.aten


# Normalisations.


@formula(_ATEN.rms_norm.default)
def _rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """With m the largest magnitude, or sqrt(eps) if that is larger: x / m, normalized with an
    epsilon of eps / m^2. Exact, and no square leaves half precision.

    coremltools divides by m as well, and forgets the epsilon (apple/coremltools #2821).
    """
    dims = list(range(x.dim() - len(shape), x.dim()))
    least = math.sqrt(torch.finfo(x.dtype).eps if eps is None else eps)
    m = torch.abs(x).amax(dims, keepdim=True).clamp(min=least)
    y = x / m
    y = y * torch.rsqrt(y.square().mean(dims, keepdim=True) + (least / m).square())
    return y if weight is None else y * weight


@formula(_ATEN.instance_norm.default)
def _instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    of_input: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Any:
    """With running statistics, which coremltools leaves out, a batch normalisation."""
    if of_input or mean is None or variance is None:
        return NotImplemented
    return F.batch_norm(x, mean, variance, weight, bias, False, momentum, eps)


@formula(_ATEN.var_mean.correction, _ATEN.var_mean.dim)
def _var_mean(
    x: Tensor,
    dim: Any = None,
    *given: bool,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    correction, keepdim = _spread_options(given, correction, keepdim)
    spread = torch.var(x, dim, correction=correction, keepdim=keepdim)
    return spread, torch.mean(x, dim, keepdim=keepdim)


@formula(_ATEN.std_mean.correction, _ATEN.std_mean.dim)
def _std_mean(
    x: Tensor,
    dim: Any = None,
    *given: bool,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    variance, mean = _var_mean(x, dim, *given, correction=correction, keepdim=keepdim)
    return torch.sqrt(variance), mean


def _spread_options(
    given: Sequence[bool], correction: Number | None, keepdim: bool
) -> tuple[Number, bool]:
    """`.dim` takes (unbiased, keepdim), `.correction` names."""
    if given:
        correction = int(given[0])
    return (1 if correction is None else correction), (given[1] if len(given) > 1 else keepdim)
