"""How far two arrays are apart.

Infinities of one sign at the same places agree and are left out of the numbers; NaN agrees with
nothing, NaN included.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_DB = 200.0
"""PSNR of equal arrays, which have none."""

Floats = NDArray[np.float64]


def comparable(want: NDArray[Any], have: NDArray[Any]) -> bool:
    """Whether a difference can be taken: equal shapes, no NaN, infinities in the same places."""
    if np.shape(want) != np.shape(have):
        return False
    odd = ~(np.isfinite(want) & np.isfinite(have))
    return bool(np.all(np.asarray(want)[odd] == np.asarray(have)[odd]))


def peak(array: NDArray[Any]) -> float:
    """The largest finite magnitude; 0 where there is none."""
    finite = np.abs(np.asarray(array, np.float64)[np.isfinite(array)])
    return float(finite.max(initial=0.0))


class Distance(NamedTuple):
    """Differences of two `comparable` arrays where they are finite."""

    largest: float
    rms: float


def distance(want: Floats, have: Floats) -> Distance:
    """The largest difference and the root of the mean of all squared; infinite beyond floats."""
    finite = np.isfinite(want)
    with np.errstate(over="ignore"):
        gap = np.abs(want[finite] - have[finite])
    largest = float(gap.max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return Distance(largest, largest)
    # Scaled first, so that no square leaves the range of floats.
    return Distance(largest, largest * math.sqrt(float(np.mean((gap / largest) ** 2))))


def psnr_db(want: Floats, have: Floats, against: float | None = None) -> float:
    """Peak signal-to-noise ratio: 20 log10(peak / root mean square of the difference).

    Arrays that are not `comparable` have the worst there is.

    Args:
        against: the peak; the largest finite magnitude in `want` if None.
    """
    if not comparable(want, have):
        return -MAX_DB
    error = distance(want, have).rms
    if error == 0.0:
        return MAX_DB
    highest = peak(want) if against is None else against
    if not math.isfinite(error) or highest == 0.0:
        return -MAX_DB
    # Each by itself: a quotient may leave the range of floats.
    ratio_db = 20.0 * (math.log10(highest) - math.log10(error))
    return max(-MAX_DB, min(MAX_DB, ratio_db))


def cosine(want: Floats, have: Floats) -> float:
    """Cosine of the angle between two arrays taken as vectors; 1 for two zero vectors.

    0 for arrays that are not `comparable`.
    """
    if not comparable(want, have):
        return 0.0
    finite = np.isfinite(want)
    want, have = want[finite], have[finite]
    sizes = peak(want), peak(have)
    if not all(sizes):
        return float(np.array_equal(want, have))
    want, have = want / sizes[0], have / sizes[1]
    norms = float(np.linalg.norm(want) * np.linalg.norm(have))
    return min(1.0, max(-1.0, float(np.vdot(want, have)) / norms))
