"""Scales and statistics set from a forward pass, in the order in which a network computes.

Whatever mixes channels with a parameter of two or more axes (convolutions, linear layers, products)
gets a scale with which its result is of order one, and a bias that centres it; whatever normalises
with running statistics gets those of its input, moved. What follows sees the settled result, so one
pass is enough at any depth. Functions are watched, not modules: it does not matter how a network
wraps them.

Values are rounded to few digits, so that sums of another order, as on another machine, lead to the
same ones but for rare ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Call = Callable[..., Any]

_CHANNELS_AT_ONE: tuple[Call, ...] = (
    torch.conv1d, torch.conv2d, torch.conv3d, torch.convolution,
    torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
)  # fmt: skip
_WITH_BIAS: tuple[Call, ...] = (*_CHANNELS_AT_ONE, F.linear)
"""Arguments (x, weight, bias)."""
_PRODUCTS: tuple[Call, ...] = (
    torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.mm, Tensor.mm,
    torch.bmm, Tensor.bmm, torch.einsum, torch.tensordot,
)  # fmt: skip
_DIGITS = 16
"""Steps of the mantissa that rounded values keep."""
_MOST_OCTAVES = 20


class Settling(TorchFunctionMode):
    """While it is active, every parameter and statistic that is used is settled once.

    Args:
        model: changed in place; runs under `torch.no_grad`, in evaluation mode.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._names = {
            id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]
        }
        self._parameters = {id(tensor) for tensor in model.parameters()}
        self.settled: dict[str, Tensor] = {}
        """By name, everything that was set."""

    def __torch_function__(
        self,
        func: Call,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.batch_norm, torch.batch_norm):
            self._statistics(*_batch_norm_arguments(func, args, kwargs))
        elif func in _WITH_BIAS:
            self._affine(func, args, kwargs)
        elif func in _PRODUCTS:
            self._product(func, args, kwargs)
        return func(*args, **kwargs)

    def _new(self, tensor: object) -> bool:
        """Whether this is a parameter or buffer of the network that nothing has set yet."""
        name = self._names.get(id(tensor))
        return name is not None and name not in self.settled

    def _set(self, tensor: Tensor, value: Tensor) -> None:
        tensor.copy_(value)
        self.settled[self._names[id(tensor)]] = tensor

    def _statistics(self, x: Tensor, mean: Tensor | None, var: Tensor | None) -> None:
        """Those of `x` (n, C, ...), moved by what was drawn for them."""
        if not (self._new(mean) and self._new(var)) or x.numel() == 0:
            return
        assert mean is not None
        assert var is not None
        centre, spread = _moments(x, 1)
        if not (torch.isfinite(centre).all() and torch.isfinite(spread).all()):
            return
        # A channel that hardly moves, as pooled features do, or moves less than the others, would
        # be little but its rounding errors, multiplied.
        spread = spread.maximum(centre.square() + spread.mean())
        if not spread.max() > 0:
            return
        self._set(mean, _coarse(centre + spread.sqrt() * mean))
        self._set(var, _coarse(spread * var))

    def _affine(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        weight, bias = given.get("weight"), given.get("bias")
        if not self._new(weight) or id(weight) not in self._parameters:
            return
        assert weight is not None
        bare = {k: v for k, v in kwargs.items() if k != "bias"}
        y = func(*args[:2], None, *args[3:], **bare) if len(args) > 2 else func(*args, **bare)
        centre, spread = _moments(y, 1 if func in _CHANNELS_AT_ONE else y.dim() - 1)
        scale = _power_of_two(float(spread.mean() + centre.square().mean()))
        self._set(weight, weight * scale)
        if self._new(bias) and torch.isfinite(centre).all():
            assert bias is not None
            self._set(bias, _coarse(bias - centre * scale))

    def _product(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        operands = [
            t for part in args for t in (part if isinstance(part, list | tuple) else [part])
        ]
        weights = [t for t in operands if self._new(t) and id(t) in self._parameters]
        if len(weights) != 1:
            return
        size = func(*args, **kwargs).double().square().mean()
        self._set(weights[0], weights[0] * _power_of_two(float(size)))


def _batch_norm_arguments(
    func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any, Any]:
    """Input, mean and variance; no mean where the statistics of the batch are used."""
    names = (
        ("input", "running_mean", "running_var", "weight", "bias", "training")
        if func is F.batch_norm
        else ("input", "weight", "bias", "running_mean", "running_var", "training")
    )
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("training"):
        return given["input"], None, None
    return given["input"], given.get("running_mean"), given.get("running_var")


def _moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel, which lie along `axis`."""
    flat = x.movedim(axis, 0).flatten(1).double()
    if flat.shape[1] == 0:
        return flat.new_zeros(len(flat)), flat.new_zeros(len(flat))
    return flat.mean(1), flat.var(1, correction=0)


def _power_of_two(mean_square: float) -> float:
    """The factor that brings values of this mean square to order one; 1 for none."""
    if not (math.isfinite(mean_square) and mean_square > 0):
        return 1.0
    octaves = round(-0.5 * math.log2(mean_square))
    return float(2.0 ** max(-_MOST_OCTAVES, min(_MOST_OCTAVES, octaves)))


def _coarse(values: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(mantissa * _DIGITS) / _DIGITS, exponent)
