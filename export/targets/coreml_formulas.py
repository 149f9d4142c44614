"""What coremltools 9 takes for something else, in operators that it takes as they are meant.

Each formula has its operator's signature and gives `NotImplemented` where the operator may stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ATEN = torch.ops.aten
_Formula = Callable[..., Any]
Number = float | int

OWN: dict[torch._ops.OperatorBase, _Formula] = {}
"""Operator -> formula."""

_ROUNDED_AWAY = 15.0
"""From here on softplus(x) is x to 3e-7 of it, which float32 hardly holds."""


def _formula(*operators: torch._ops.OpOverload) -> Callable[[_Formula], _Formula]:
    def register(formula: _Formula) -> _Formula:
        OWN.update(dict.fromkeys(operators, formula))
        return formula

    return register


# Sums: coremltools leaves out alpha (apple/coremltools #2573).


@_formula(_ATEN.add.Tensor, _ATEN.add.Scalar)
def _add(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else x + y * alpha


@_formula(_ATEN.sub.Tensor, _ATEN.sub.Scalar)
def _sub(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else x - y * alpha


@_formula(_ATEN.rsub.Tensor, _ATEN.rsub.Scalar)
def _rsub(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else y - x * alpha


@_formula(_ATEN.lerp.Scalar, _ATEN.lerp.Tensor)
def _lerp(x: Tensor, y: Tensor, weight: Tensor | Number) -> Tensor:
    return x + weight * (y - x)


# Quotients and remainders. coremltools leaves out a division by one, and its floor with it
# (apple/coremltools #2836), and gives quotients of integers as floats (#2570, #2733). Others stay
# whole operators: a division by a constant becomes a product, and 49 * (1 / 49) is below one.


@_formula(_ATEN.floor_divide.default)
def _floor_divide(x: Tensor, y: Tensor | Number) -> Any:
    return _floored(x, y)


@_formula(_ATEN.div.Tensor_mode, _ATEN.div.Scalar_mode)
def _divide(x: Tensor, y: Tensor | Number, *, rounding_mode: str | None) -> Any:
    if rounding_mode is None:
        return x / y
    if rounding_mode == "floor":
        return _floored(x, y)
    below: Any = abs(y)
    size = torch.div(torch.abs(x), below, rounding_mode="floor")
    return size * torch.sign(x) * (torch.sign(y) if isinstance(y, Tensor) else (-1, 1)[y > 0])


def _floored(x: Tensor, y: Tensor | Number) -> Any:
    if not _is_float(x, y):
        return torch.div(x.to(torch.float32), y, rounding_mode="floor").to(x.dtype)
    return torch.floor(x) if not isinstance(y, Tensor) and y == 1 else NotImplemented


@_formula(_ATEN.remainder.Scalar, _ATEN.remainder.Tensor)
def _remainder(x: Tensor, y: Tensor | Number) -> Any:
    is_one = not isinstance(y, Tensor) and y == 1
    return x - torch.floor(x) if is_one and x.is_floating_point() else NotImplemented


@_formula(_ATEN.fmod.Scalar, _ATEN.fmod.Tensor)
def _fmod(x: Tensor, y: Tensor | Number) -> Tensor:
    size: Any = abs(y)
    return torch.sign(x) * torch.remainder(torch.abs(x), size)


@_formula(_ATEN.trunc.default, _ATEN.fix.default)
def _truncated(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.floor(torch.abs(x)) if x.is_floating_point() else x.clone()


@_formula(_ATEN.round.decimals)
def _round(x: Tensor, *, decimals: int) -> Tensor:
    scale = float(10 ** abs(decimals))
    return torch.round(x * scale) / scale if decimals >= 0 else torch.round(x / scale) * scale


# Logarithms of sums: coremltools takes log(softmax(x)), which is -inf, or log 1e-45, far below the
# maximum.


@_formula(_ATEN.log_softmax.int, _ATEN._log_softmax.default)
def _log_softmax(x: Tensor, dim: int, dtype: object = None) -> Tensor:
    if isinstance(dtype, torch.dtype):
        x = x.to(dtype)
    shifted: Tensor = x - x.amax(dim, keepdim=True)
    return shifted - torch.log(shifted.exp().sum(dim, keepdim=True))


@_formula(_ATEN.softplus.default)
def _softplus(x: Tensor, beta: Number = 1, threshold: Number = 20) -> Tensor:
    """relu(y) + log(1 + e^-|y|) for y = beta x, which overflows nowhere.

    Core ML's own was seen to give zero from 10.4 on the Neural Engine (apple/coremltools #2687).
    """
    y = x if beta == 1 else x * beta
    result = F.relu(y) + torch.log1p(torch.exp(-torch.abs(y)))
    if threshold < _ROUNDED_AWAY:
        result = torch.where(y > threshold, y, result)
    return result if beta == 1 else result / beta


@_formula(_ATEN.mish.default)
def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(_softplus(x))


@_formula(_ATEN.log_sigmoid.default)
def _log_sigmoid(x: Tensor) -> Tensor:
    result: Tensor = -_softplus(-x)
    return result


# Normalisations.


@_formula(_ATEN.rms_norm.default)
def _rms_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """coremltools adds the epsilon times the largest square (apple/coremltools #2821)."""
    dims = list(range(x.dim() - len(shape), x.dim()))
    guard = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * torch.rsqrt(x.square().mean(dims, keepdim=True) + guard)
    return y if weight is None else y * weight


@_formula(_ATEN.instance_norm.default)
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


@_formula(_ATEN.var_mean.correction, _ATEN.var_mean.dim)
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


@_formula(_ATEN.std_mean.correction, _ATEN.std_mean.dim)
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


# Shapes and places.


@_formula(_ATEN.argmax.default)
def _argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(torch.argmax, x, dim, keepdim)


@_formula(_ATEN.argmin.default)
def _argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(torch.argmin, x, dim, keepdim)


def _position(find: _Formula, x: Tensor, dim: int | None, keepdim: bool) -> Any:
    """Without a dimension: the place in the flattened tensor, not in the last dimension."""
    if dim is not None:
        return NotImplemented
    place = find(x.reshape(-1), 0)
    return place.reshape([1] * x.dim()) if keepdim else place


@_formula(_ATEN.cumsum.default)
def _cumsum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Core ML counts one dimension from the end and no more."""
    return NotImplemented if dim >= 0 else torch.cumsum(x, dim % x.dim(), dtype=dtype)


@_formula(_ATEN.matmul.default)
def _matmul(x: Tensor, y: Tensor) -> Any:
    """Core ML crashes on a vector, or takes it for a row (apple/coremltools #2263)."""
    if x.dim() > 1 and y.dim() > 1:
        return NotImplemented
    left = x[None] if x.dim() == 1 else x
    right = y[:, None] if y.dim() == 1 else y
    result = torch.matmul(left, right)
    result = result.squeeze(-1) if y.dim() == 1 else result
    return result.squeeze(-1 if y.dim() == 1 else -2) if x.dim() == 1 else result


@_formula(_ATEN.mv.default)
def _mv(x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y[:, None]).squeeze(-1)


@_formula(_ATEN.dot.default)
def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum()


@_formula(_ATEN.diagonal.default, _ATEN.diagonal_copy.default)
def _diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Every (columns + 1)-th of the flattened matrix; coremltools keeps the matrix (#2565)."""
    dim1, dim2 = dim1 % x.dim(), dim2 % x.dim()
    others = [dim for dim in range(x.dim()) if dim not in (dim1, dim2)]
    rows, columns = x.shape[dim1], x.shape[dim2]
    first = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    flat = x.permute([*others, dim1, dim2]).reshape([*(x.shape[d] for d in others), -1])
    return flat[
        ..., first : first + (count - 1) * (columns + 1) + 1 if count else first : columns + 1
    ]


@_formula(_ATEN.alias.default, _ATEN.alias_copy.default)
def _alias(x: Tensor) -> Tensor:
    return x.view(x.shape)


# Choices.


@_formula(_ATEN.index_put.default)
def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Any:
    """A mask as a choice: coremltools counts the places, which fails where there are none."""
    mask = indices[0]
    if len(indices) != 1 or mask is None or mask.dtype is not torch.bool or values.numel() != 1:
        return NotImplemented
    mask = mask.reshape([*mask.shape, *[1] * (x.dim() - mask.dim())])
    value = values.reshape([]).to(x.dtype)
    return torch.where(mask, x + value if accumulate else value, x)


@_formula(_ATEN.bitwise_and.Tensor, _ATEN.bitwise_and.Scalar)
def _bitwise_and(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_and, x, y)


@_formula(_ATEN.bitwise_or.Tensor, _ATEN.bitwise_or.Scalar)
def _bitwise_or(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_or, x, y)


@_formula(_ATEN.bitwise_xor.Tensor, _ATEN.bitwise_xor.Scalar)
def _bitwise_xor(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_xor, x, y)


def _logical(operator: _Formula, x: Tensor, y: Tensor | bool) -> Any:
    """Of truth values; Core ML has no bits of integers."""
    if x.dtype is not torch.bool or not isinstance(y, Tensor) or y.dtype is not torch.bool:
        return NotImplemented
    return operator(x, y)


@_formula(_ATEN.hardtanh.default)
def _hardtanh(x: Tensor, low: Number = -1, high: Number = 1) -> Tensor:
    return torch.clamp(x, float(low), float(high))


@_formula(_ATEN.hardshrink.default)
def _hardshrink(x: Tensor, limit: Number = 0.5) -> Tensor:
    return torch.where(torch.abs(x) <= limit, torch.zeros_like(x), x)


@_formula(_ATEN.celu.default)
def _celu(x: Tensor, alpha: Number = 1.0) -> Tensor:
    return F.relu(x) + alpha * F.elu(-F.relu(-x) / alpha)


@_formula(_ATEN.isinf.default)
def _isinf(x: Tensor) -> Tensor:
    return torch.abs(x) == math.inf


@_formula(_ATEN.erfc.default)
def _erfc(x: Tensor) -> Tensor:
    return 1 - torch.erf(x)


@_formula(_ATEN.asinh.default)
def _asinh(x: Tensor) -> Tensor:
    """Of the magnitude, as x + sqrt(x^2 + 1) cancels below zero."""
    size = torch.abs(x)
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))


@_formula(_ATEN.acosh.default)
def _acosh(x: Tensor) -> Tensor:
    return torch.log(x + torch.sqrt(x * x - 1))


def _is_float(x: Tensor | Number, y: Tensor | Number) -> bool:
    return any(
        v.is_floating_point() if isinstance(v, Tensor) else isinstance(v, float) for v in (x, y)
    )
