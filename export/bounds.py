"""How far rounding alone may move the outputs of a network.

A fold that is exact in real arithmetic rounds differently, and what follows carries that on: by
1e-15 in most networks, by 5e-8 in one that multiplies its features with each other. So the bound
follows the network's own conditioning: how far its outputs move when its input moves by one unit
in the last place. An output whose true value is zero is held to the same, not to its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Outputs = Sequence[Tensor]


@dataclass(frozen=True)
class Arithmetic:
    """Limits of a comparison in one floating-point type, relative to an output's largest value.

    Attributes:
        plain: what is rounding in any network.
        margin: times the response to an input moved by one unit in the last place is rounding too:
            a fold rounds at many places, the input is moved at one.
        most: what no conditioning excuses; a wrong fold moves outputs by more.
        zero: the same for an output whose true value is zero, where inputs are of order one.
    """

    dtype: torch.dtype
    plain: float
    margin: float
    most: float
    zero: float

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


FLOAT64 = Arithmetic(torch.float64, plain=1e-10, margin=1e3, most=1e-6, zero=1e-12)
FLOAT32 = Arithmetic(torch.float32, plain=1e-5, margin=1e2, most=1e-3, zero=1e-4)

_DRAWS = 3


@dataclass(frozen=True)
class Difference:
    """How far outputs are apart.

    Attributes:
        relative: largest difference over largest value, the worst of all outputs that are more
            than rounding; NaN stays NaN.
        is_rounding: whether the arithmetic and the network's conditioning explain it.
    """

    relative: float
    is_rounding: bool


class Bounds:
    """What differences from `outputs`, which `network` gives for `x`, are rounding."""

    def __init__(
        self,
        network: Callable[[Tensor], Outputs],
        x: Tensor,
        outputs: Outputs,
        arithmetic: Arithmetic,
    ) -> None:
        self._network = network
        self._x = x
        self._outputs = outputs
        self.arithmetic = arithmetic
        self._responses: list[float] | None = None

    def difference(self, before: Outputs, after: Outputs) -> Difference:
        """Compare two lists of outputs, of the same network in two forms."""
        if len(before) != len(after):
            return Difference(float("inf"), False)
        plain, most = self.arithmetic.plain, self.arithmetic.most
        errors = [_error(one, two) for one, two in zip(before, after, strict=True)]
        sizes = [_size(output) for output in before]
        ratios = [_ratio(error, size) for error, size in zip(errors, sizes, strict=True)]
        if all(ratio <= plain for ratio in ratios):
            return Difference(max(ratios, default=0.0), True)
        known = [
            (error, size, response)
            for error, size, response in zip(errors, sizes, self.responses(), strict=True)
        ]
        fine = all(error <= self._limit(size, response) for error, size, response in known)
        counted = [
            ratio
            for ratio, (_, size, response) in zip(ratios, known, strict=True)
            if not (fine and response > most * size)
        ]
        return Difference(largest(counted), fine)

    def _limit(self, size: float, response: float) -> float:
        allowed = self.arithmetic
        excused = min(allowed.margin * response, max(allowed.most * size, allowed.zero))
        return max(allowed.plain * size, excused)

    def responses(self) -> list[float]:
        """Per output the largest change when every value of the input moves by one ulp."""
        if self._responses is None:
            found = [0.0] * len(self._outputs)
            for draw in range(_DRAWS):
                generator = torch.Generator().manual_seed(draw)
                up = torch.rand(self._x.shape, generator=generator) < 0.5
                far = torch.where(up, torch.inf, -torch.inf).to(self._x)
                moved = self._network(torch.nextafter(self._x, far))
                changes = [_error(a, b) for a, b in zip(self._outputs, moved, strict=True)]
                found = [max(a, b) for a, b in zip(found, changes, strict=True)]
            self._responses = found
        return self._responses


def relative_error(before: Outputs, after: Outputs) -> float:
    """Largest difference over largest value, the worst of all outputs; NaN stays NaN."""
    pairs = zip(before, after, strict=True)
    return largest([_ratio(_error(one, two), _size(one)) for one, two in pairs])


def largest(values: Sequence[float]) -> float:
    """The largest of `values`, zero of none; NaN stays NaN."""
    worst = 0.0
    for value in values:
        worst = value if not value <= worst else worst  # keeps NaN
    return worst


def _error(one: Tensor, two: Tensor) -> float:
    if one.shape != two.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    wide, other = _wide(one), _wide(two)
    same = wide == other  # infinities too
    return float(torch.where(same, 0.0, (wide - other).abs()).max())


def _size(output: Tensor) -> float:
    wide = _wide(output).abs()
    finite = wide[torch.isfinite(wide)]
    return float(finite.max()) if finite.numel() else 0.0


def _ratio(error: float, size: float) -> float:
    if error == 0.0:
        return 0.0
    return error / size if size else float("inf")


def _wide(output: Tensor) -> Tensor:
    return output.to(torch.complex128 if output.is_complex() else torch.float64)
