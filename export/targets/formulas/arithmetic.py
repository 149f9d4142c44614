"""Sums, quotients and roundings that coremltools changes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .registry import Number, formula

_ATEN = torch.ops.aten


# Sums: coremltools leaves out alpha (apple/coremltools #2573).


@formula(_ATEN.add.Tensor, _ATEN.add.Scalar)
def _add(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else x + y * alpha


@formula(_ATEN.sub.Tensor, _ATEN.sub.Scalar)
def _sub(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else x - y * alpha


@formula(_ATEN.rsub.Tensor, _ATEN.rsub.Scalar)
def _rsub(x: Tensor, y: Tensor | Number, *given: Number, alpha: Number = 1) -> Any:
    alpha = given[0] if given else alpha
    return NotImplemented if alpha == 1 else y - x * alpha


@formula(_ATEN.lerp.Scalar, _ATEN.lerp.Tensor)
def _lerp(x: Tensor, y: Tensor, weight: Tensor | Number) -> Tensor:
    return x + weight * (y - x)


# Quotients and remainders. coremltools leaves out a division by one, and its floor with it
# (apple/coremltools #2836), and gives quotients of integers as floats (#2570, #2733). Others stay
# whole operators: a division by a constant becomes a product, and 49 * (1 / 49) is below one.


@formula(_ATEN.floor_divide.default)
def _floor_divide(x: Tensor, y: Tensor | Number) -> Any:
    if not _is_float(x, y):
        return torch.floor_divide(x.to(torch.float32), y).to(x.dtype)
    return torch.floor(x) if not isinstance(y, Tensor) and y == 1 else NotImplemented


@formula(_ATEN.div.Tensor_mode, _ATEN.div.Scalar_mode)
def _divide(x: Tensor, y: Tensor | Number, *, rounding_mode: str | None) -> Tensor:
    """coremltools takes the mode for a tensor where one has its name, as a floor before it has."""
    if rounding_mode is None:
        return x / y
    if rounding_mode == "floor":
        return torch.floor_divide(x, y)
    below: Any = abs(y)
    size = torch.floor_divide(torch.abs(x), below)
    return size * torch.sign(x) * (torch.sign(y) if isinstance(y, Tensor) else (-1, 1)[y > 0])


@formula(_ATEN.remainder.Scalar, _ATEN.remainder.Tensor)
def _remainder(x: Tensor, y: Tensor | Number) -> Any:
    is_one = not isinstance(y, Tensor) and y == 1
    return x - torch.floor(x) if is_one and x.is_floating_point() else NotImplemented


@formula(_ATEN.fmod.Scalar, _ATEN.fmod.Tensor)
def _fmod(x: Tensor, y: Tensor | Number) -> Tensor:
    size: Any = abs(y)
    return torch.sign(x) * torch.remainder(torch.abs(x), size)


@formula(_ATEN.trunc.default, _ATEN.fix.default)
def _truncated(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.floor(torch.abs(x)) if x.is_floating_point() else x.clone()


@formula(_ATEN.round.default)
def _round(x: Tensor) -> Any:
    """Halves to the even neighbour; Core ML's go where each of its units takes them.

    An engineer of Apple's said so in webmachinelearning/webnn #817.
    """
    if not x.is_floating_point():
        return x.clone()
    below = torch.floor(x)
    rest = x - below
    odd = below - 2 * torch.floor(below * 0.5)
    up = (rest > 0.5) | ((rest == 0.5) & (odd == 1))
    return below + up.to(x.dtype)


@formula(_ATEN.round.decimals)
def _round_at(x: Tensor, *, decimals: int) -> Tensor:
    scale = float(10 ** abs(decimals))
    return torch.round(x * scale) / scale if decimals >= 0 else torch.round(x / scale) * scale


def _is_float(x: Tensor | Number, y: Tensor | Number) -> bool:
    return any(
        v.is_floating_point() if isinstance(v, Tensor) else isinstance(v, float) for v in (x, y)
    )
