"""How far two arrays are apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_DB = 200.0
"""PSNR of equal arrays, which have none."""


def psnr_db(want: NDArray[np.float64], have: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio: 20 log10(max |want| / root mean square of the difference).

    NaN or infinity in either is the worst there is.
    """
    error = math.sqrt(float(np.mean((want - have) ** 2))) if want.size else 0.0
    peak = float(np.abs(want).max(initial=0.0))
    if not math.isfinite(error):
        return -MAX_DB
    if error == 0.0:
        return MAX_DB
    if peak == 0.0:
        return -MAX_DB
    return max(-MAX_DB, min(MAX_DB, 20.0 * math.log10(peak / error)))


def cosine(want: NDArray[np.float64], have: NDArray[np.float64]) -> float:
    """Cosine of the angle between two arrays taken as vectors; 1 for two zero vectors."""
    norms = float(np.linalg.norm(want) * np.linalg.norm(have))
    if norms == 0.0:
        return float(np.array_equal(want, have))
    return min(1.0, max(-1.0, float(np.vdot(want, have)) / norms))
