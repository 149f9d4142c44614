"""Counts with the interval that their share has."""

from __future__ import annotations

from scipy.stats import binomtest

from care_mobile.frozen import Frozen


class Share(Frozen):
    """`count` of `total` with the 95 % interval of Clopper and Pearson; of nothing, 0 to 1."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        return self.count / self.total if self.total else None


def share(count: int, total: int) -> Share:
    """With its interval."""
    if not total:
        return Share(count=0, total=0, low=0.0, high=1.0)
    interval = binomtest(count, total).proportion_ci(confidence_level=0.95, method="exact")
    return Share(count=count, total=total, low=float(interval.low), high=float(interval.high))
