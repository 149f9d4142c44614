"""Where elements are: positions, sums along an axis, views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .registry import Formula, formula

_ATEN = torch.ops.aten


# Shapes and places.


@formula(_ATEN.argmax.default)
def _argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(torch.argmax, x, dim, keepdim)


@formula(_ATEN.argmin.default)
def _argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(torch.argmin, x, dim, keepdim)


def _position(find: Formula, x: Tensor, dim: int | None, keepdim: bool) -> Any:
    """Without a dimension: the place in the flattened tensor, not in the last dimension."""
    if dim is not None:
        return NotImplemented
    place = find(x.reshape(-1), 0)
    return place.reshape([1] * x.dim()) if keepdim else place


@formula(_ATEN.cumsum.default)
def _cumsum(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """Core ML counts one dimension from the end and no more."""
    return NotImplemented if dim >= 0 else torch.cumsum(x, dim % x.dim(), dtype=dtype)


@formula(_ATEN.roll.default)
def _roll(x: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    """What leaves at one end, before the rest; coremltools gathers every element by its index."""
    if not dims:
        flat: Tensor = _roll(x.reshape(-1), shifts, [0])
        return flat.reshape(x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        moved = shift % x.shape[dim]
        if moved:
            kept = x.shape[dim] - moved
            x = torch.cat([x.narrow(dim, kept, moved), x.narrow(dim, 0, kept)], dim)
    return x


@formula(_ATEN.unfold.default)
def _unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    dim %= x.dim()
    last = (x.shape[dim] - size) // step * step
    taps = [x.narrow(dim, tap, last + 1) for tap in range(size)]
    strided = (slice(None),) * dim + (slice(None, None, step),)
    return torch.stack([tap[strided] for tap in taps], -1)


@formula(_ATEN.diagonal.default, _ATEN.diagonal_copy.default)
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


@formula(_ATEN.alias.default, _ATEN.alias_copy.default)
def _alias(x: Tensor) -> Tensor:
    return x.view(x.shape)
