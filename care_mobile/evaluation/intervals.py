"""95 % intervals of proportions: pure functions."""

from __future__ import annotations

import math
from typing import Any

from ..requirements import load
from .results import Proportion

CONFIDENCE = 0.95


def _normal_quantile() -> float:
    """1.96: half of the interval in standard deviations."""
    special: Any = load("scipy.special", "bench")
    return float(special.ndtri(0.5 + CONFIDENCE / 2))


def proportion(count: int, total: int) -> Proportion:
    """`count` of `total` with its Wilson score interval, which holds near 0 and 1 too.

    With z the normal quantile and p = count / total, the bounds are
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Raises:
        ValueError: without images, or with more right than there are.
    """
    if not 0 <= count <= total or total == 0:
        raise ValueError(f"{count} of {total} is no proportion")
    share, z = count / total, _normal_quantile()
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the bound is the end itself, which rounding may miss.
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == total else (middle + half) / scale
    return Proportion(count=count, total=total, share=share, low=low, high=high)


def paired_difference(gained: int, lost: int, total: int) -> tuple[float, float, float]:
    """(difference, low, high) of two proportions measured on the same `total` images.

    The interval is Wald's with half an observation added to each of the four cells (Agresti and
    Min, Statistics in Medicine 24, 2005), so that no discordant pair does not mean certainty.

    Raises:
        ValueError: for more discordant images than there are.
    """
    if gained < 0 or lost < 0 or gained + lost > total or total == 0:
        raise ValueError(f"{gained} gained and {lost} lost of {total} are no pairs")
    more, less, n = gained + 0.5, lost + 0.5, total + 2
    middle = (more - less) / n
    half = _normal_quantile() * math.sqrt(more + less - (more - less) ** 2 / n) / n
    return (gained - lost) / total, max(-1.0, middle - half), min(1.0, middle + half)
