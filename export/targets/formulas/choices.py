"""Choices between tensors, and truth values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .registry import Formula, Number, formula

_ATEN = torch.ops.aten


# Choices.


@formula(_ATEN.index_put.default)
def _index_put(
    x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Any:
    """A mask as a choice: coremltools counts the places, which fails where there are none."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1:
        return NotImplemented
    dim, mask = given[0]
    if mask.dtype is not torch.bool:
        return _put_rows(x, dim, mask, values, accumulate) if mask.dim() == 1 else NotImplemented
    if dim or values.numel() != 1:
        return NotImplemented
    mask = mask.reshape([*mask.shape, *[1] * (x.dim() - mask.dim())])
    value = values.reshape([]).to(x.dtype)
    return torch.where(mask, x + value if accumulate else value, x)


def _put_rows(x: Tensor, dim: int, rows: Tensor, values: Tensor, accumulate: bool) -> Tensor:
    """`values` at some places of one dimension, which coremltools does not take by list."""
    shape = [len(rows) if axis == dim else size for axis, size in enumerate(x.shape)]
    places = torch.where(rows < 0, rows + x.shape[dim], rows)
    places = places.reshape([-1 if axis == dim else 1 for axis in range(x.dim())]).expand(shape)
    values = values.to(x.dtype).expand(shape)
    put = torch.scatter_add if accumulate else torch.scatter
    return put(x, dim, places, values)


@formula(_ATEN.bitwise_and.Tensor, _ATEN.bitwise_and.Scalar)
def _bitwise_and(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_and, x, y)


@formula(_ATEN.bitwise_or.Tensor, _ATEN.bitwise_or.Scalar)
def _bitwise_or(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_or, x, y)


@formula(_ATEN.bitwise_xor.Tensor, _ATEN.bitwise_xor.Scalar)
def _bitwise_xor(x: Tensor, y: Tensor | bool) -> Any:
    return _logical(torch.logical_xor, x, y)


def _logical(operator: Formula, x: Tensor, y: Tensor | bool) -> Any:
    """Of truth values; Core ML has no bits of integers."""
    if x.dtype is not torch.bool or not isinstance(y, Tensor) or y.dtype is not torch.bool:
        return NotImplemented
    return operator(x, y)


@formula(_ATEN.where.ScalarSelf)
def _where_number(condition: Tensor, x: Number, y: Tensor) -> Tensor:
    dtype = torch.result_type(y, x)
    return torch.where(condition, torch.full((), x, dtype=dtype), y.to(dtype))


@formula(_ATEN.where.ScalarOther)
def _where_else_number(condition: Tensor, x: Tensor, y: Number) -> Tensor:
    dtype = torch.result_type(x, y)
    return torch.where(condition, x.to(dtype), torch.full((), y, dtype=dtype))


@formula(_ATEN.where.self)
def _where(condition: Tensor, x: Tensor, y: Tensor) -> Any:
    """coremltools takes no two types."""
    if x.dtype is y.dtype:
        return NotImplemented
    dtype = torch.promote_types(x.dtype, y.dtype)
    if x.dim() and not y.dim():
        dtype = torch.result_type(x, y)
    elif y.dim() and not x.dim():
        dtype = torch.result_type(y, x)
    return torch.where(condition, x.to(dtype), y.to(dtype))


@formula(_ATEN.isinf.default)
def _isinf(x: Tensor) -> Tensor:
    return torch.abs(x) == math.inf


@formula(_ATEN.triu.default)
def _triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """coremltools subtracts the rest of the band, which makes NaN of a mask of infinities."""
    return torch.where(_columns_less_rows(x) >= diagonal, x, torch.zeros((), dtype=x.dtype))


@formula(_ATEN.tril.default)
def _tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """As `_triu`."""
    return torch.where(_columns_less_rows(x) <= diagonal, x, torch.zeros((), dtype=x.dtype))


def _columns_less_rows(x: Tensor) -> Tensor:
    rows, columns = (torch.arange(side) for side in x.shape[-2:])
    return columns - rows[:, None]
