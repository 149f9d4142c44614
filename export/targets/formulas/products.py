"""Products of vectors and matrices, and distances."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .registry import formula

_ATEN = torch.ops.aten
_FEW = 64
"""Elements along an axis up to which a product is written out."""


@formula(_ATEN.matmul.default)
def _matmul(x: Tensor, y: Tensor) -> Any:
    """Core ML crashes on a vector, or takes it for a row (apple/coremltools #2263)."""
    if x.dim() > 1 and y.dim() > 1:
        return NotImplemented
    left = x[None] if x.dim() == 1 else x
    right = y[:, None] if y.dim() == 1 else y
    result = torch.matmul(left, right)
    result = result.squeeze(-1) if y.dim() == 1 else result
    return result.squeeze(-1 if y.dim() == 1 else -2) if x.dim() == 1 else result


@formula(_ATEN.mv.default)
def _mv(x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y[:, None]).squeeze(-1)


@formula(_ATEN.dot.default)
def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum()


@formula(_ATEN.prod.dim_int)
def _prod(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """A product per element, of few."""
    if x.shape[dim] > _FEW:
        return NotImplemented
    first, *others = x.to(dtype or x.dtype).unbind(dim)
    result = math.prod(others, start=first)
    return result.unsqueeze(dim) if keepdim else result


@formula(_ATEN.cdist.default, _ATEN._cdist_forward.default)
def _cdist(x: Tensor, y: Tensor, p: float = 2.0, mode: int | None = None) -> Any:
    difference = x.unsqueeze(-2) - y.unsqueeze(-3)
    return torch.linalg.vector_norm(difference, p, -1)
