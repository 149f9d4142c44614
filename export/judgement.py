"""One output of a bundle against the reference's: agreement, rounding, or a difference.

Numbers in floating point are judged by PSNR against the peak of the reference. Two things count as
rounding where that is too low:

- the true answer is nearly zero on a probe, as a zero-mean filter's on a flat image is: the error
  is then held against the peak on ordinary inputs;
- the network itself, in float64 or with weights and inputs moved by a unit in the last place,
  leaves its own float32 answer as far.

Whole numbers and truth values (indices, masks) agree where they are equal. Where the network
itself changes them when it is rounded as the precision rounds, nearly tied values are behind it,
and a few times as many places may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.agreement import Distance, comparable, cosine, distance, peak, psnr_db

Moves = Callable[[], Sequence[NDArray[Any]]]
"""The same output of the reference when rounding moves the network; expensive, asked for late."""

_RMS_FACTOR, _PEAK_FACTOR, _SHARE_FACTOR = 4.0, 8.0, 4.0
"""How much further than the network's own rounding a bundle's may lead, which sums differently."""
_ROUNDING_FLOOR_DB = 60.0
"""What no rounding excuses on inputs as a user has them."""
_FLOAT32_NOISE = 1e-6
"""Rounding of values of order one: no difference where the answer is zero on every input."""
_MOST_TIED = 0.5
"""Share of places of an output that may differ, on inputs with texture, however tied they are."""


@dataclass(frozen=True)
class Threshold:
    """What a bundle must reach on one kind of probe.

    Attributes:
        min_psnr_db: None: reported, not judged.
        max_abs: relative to the largest reference value where that exceeds one, since float32
            cannot promise more. None: not judged.
        near_zero_db: PSNR against the peak on ordinary inputs that suffices on other inputs.
        differing: share of whole numbers that may differ without further reason.
        rounding: whether the network's own float32 rounding excuses a difference.
    """

    min_psnr_db: float | None
    max_abs: float | None = None
    near_zero_db: float | None = None
    differing: float = 0.0
    rounding: bool = False


@dataclass(frozen=True)
class Judged:
    """How far one output is from the reference's on one probe set."""

    max_abs: float
    psnr_db: float
    cosine: float
    passed: bool
    finite: bool = True
    equal_share: float | None = None
    note: str = ""


def judge(
    want: NDArray[Any],
    have: NDArray[Any],
    limit: Threshold,
    *,
    textured: bool = True,
    strict: bool = True,
    ordinary_peak: float = 0.0,
    moves: Moves = tuple,
) -> Judged:
    """Compare one output (n, ...) of a bundle with the reference's.

    Args:
        textured: an ordinary image; on others the answer may be zero in truth.
        strict: an input as a user has them, on which a reference must be finite.
        ordinary_peak: of this output on textured inputs.
        moves: see `Moves`.
    """
    demanded = limit.min_psnr_db is not None
    if want.shape != have.shape:
        shapes = f"has shape {list(have.shape)} instead of {list(want.shape)}"
        return Judged(0.0, psnr_db(want, have), 0.0, passed=False, finite=False, note=shapes)
    if want.dtype.kind in "iub":
        return _whole(want, have, limit, textured, moves)
    want, have = want.astype(np.float64), have.astype(np.float64)
    if not comparable(want, have):
        note = _unlike(want, have)
        # Beyond the range of the precision, where nothing is demanded, or of the network itself.
        beyond = not strict and not np.isfinite(want).all()
        passed = beyond or (not demanded and not np.isnan(want).any())
        return Judged(0.0, psnr_db(want, have), 0.0, passed=passed, finite=False, note=note)
    found = distance(want, have)
    psnr, note = psnr_db(want, have), ""
    passed = not demanded or _within(psnr, found, limit, peak(want))
    if not passed and not textured and limit.near_zero_db is not None:
        against = psnr_db(want, have, ordinary_peak)
        if against >= limit.near_zero_db and _close(found, limit, ordinary_peak):
            passed, psnr = True, against
            note = "nearly zero: measured against the peak on ordinary inputs"
    if not passed and limit.rounding:
        passed, note = _rounding(want, found, psnr, strict, moves)
    if not passed and peak(want) == 0.0:
        note = f"is zero in the network, up to {found.largest:.1e} in the bundle"
    return Judged(found.largest, psnr, cosine(want, have), passed, note=note)


def _within(psnr: float, found: Distance, limit: Threshold, highest: float) -> bool:
    assert limit.min_psnr_db is not None
    return psnr >= limit.min_psnr_db and _close(found, limit, highest)


def _close(found: Distance, limit: Threshold, highest: float) -> bool:
    return limit.max_abs is None or found.largest <= limit.max_abs * max(1.0, highest)


def _rounding(
    want: NDArray[np.float64], found: Distance, psnr: float, strict: bool, moves: Moves
) -> tuple[bool, str]:
    """Whether the network's own rounding explains a distance, and what it amounts to."""
    others = [other.astype(np.float64) for other in moves()]
    own = [distance(want, other) for other in others if comparable(want, other)]
    if not own:
        return False, ""
    level = min(psnr_db(want, other) for other in others if comparable(want, other))
    explained = found.rms <= _RMS_FACTOR * max(o.rms for o in own)
    explained = explained and found.largest <= _PEAK_FACTOR * max(o.largest for o in own)
    floor = psnr >= _ROUNDING_FLOOR_DB or found.largest <= _FLOAT32_NOISE
    note = f"float32 rounding alone moves the network itself by as much ({level:.1f} dB)"
    if explained and (floor or not strict):
        return True, note
    return False, note if explained else ""


def _whole(
    want: NDArray[Any], have: NDArray[Any], limit: Threshold, textured: bool, moves: Moves
) -> Judged:
    """Whole numbers and truth values: where they are equal."""
    unequal = want != have  # NaN is unequal to everything
    share = float(unequal.mean()) if want.size else 0.0
    own = 0.0
    if share > limit.differing and limit.min_psnr_db is not None:
        own = max((float((other != want).mean()) for other in moves()), default=0.0)
    most = _MOST_TIED if textured else 1.0
    passed = limit.min_psnr_db is None or share <= min(most, _SHARE_FACTOR * own + limit.differing)
    note = f"{share:.2%} of its whole numbers differ" if share else ""
    if own:
        note += f"; rounding alone changes {own:.2%} in the network itself"
    numbers = want.astype(np.float64), have.astype(np.float64)
    finite = comparable(*numbers)
    return Judged(
        max_abs=distance(*numbers).largest if finite else 0.0,
        psnr_db=psnr_db(*numbers),
        cosine=cosine(*numbers),
        passed=passed,
        finite=finite,
        equal_share=1.0 - share,
        note=note,
    )


def _unlike(want: NDArray[np.float64], have: NDArray[np.float64]) -> str:
    if np.isnan(want).any():
        return f"is NaN at {_places(np.isnan(want))} in the network itself"
    nans = np.isnan(have)
    if nans.any():
        return f"is NaN at {_places(nans)}"
    odd = ~(np.isfinite(want) & np.isfinite(have)) & (want != have)
    beyond = odd & np.isfinite(want)
    if beyond.any():
        return f"is infinite at {_places(beyond)}"
    return f"has another infinity, or none, at {_places(odd)} where the network has one"


def _places(where: NDArray[np.bool_]) -> str:
    return f"{int(np.count_nonzero(where))} of {where.size} places"
