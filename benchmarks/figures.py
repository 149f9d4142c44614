"""The figures to reach, and whether they are: computed from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from care_mobile.bench.stats import ratio as ratio_of
from care_mobile.errors import RuntimeFailure

from .measuring import Taken
from .parts import Part
from .results import Contestant, Figure, Ratio, Role, Verdict

Measured = tuple[Contestant, Taken]
Unit = Literal["count", "times", "percent"]


def ratio(own: Taken, base: Taken) -> Ratio:
    """Latency of `own` over that of `base`, with an interval over rounds.

    Raises:
        RuntimeFailure: if no round holds both.
    """
    found = ratio_of(own.session, own.cell, base.cell)
    if found is None:
        raise RuntimeFailure(f"{own.name} and {base.name} share no round", "measure again")
    return Ratio(value=found.ratio, low=found.low, high=found.high)


def figures(target: str, measured: list[Measured]) -> tuple[Figure, ...]:
    """All figures for one network on the runtime of `target`."""
    field = _Field(measured)
    fp32 = _EXECUTORCH if target == "executorch" else _ONNX
    return tuple(
        _judge(title, limit, unit, at_least, value(field))
        for title, limit, unit, at_least, value in (*fp32, *_INT8)
    )


class _Field:
    """The contestants by what they are; values are None where one of two is missing."""

    def __init__(self, measured: list[Measured]) -> None:
        self._measured = measured

    def ours(self, precision: str) -> Measured | None:
        return self._first(lambda c: c.role is Role.OURS and c.precision == precision)

    def naive(self) -> Measured | None:
        naive = [m for m in self._measured if m[0].role is Role.NAIVE]
        return min(naive, key=lambda m: m[0].latency.median_ms, default=None)

    def bound(self) -> Measured | None:
        return self._first(lambda c: c.summary == Part.POINTWISE.value)

    def _first(self, wanted: Callable[[Contestant], bool]) -> Measured | None:
        return next((m for m in self._measured if wanted(m[0])), None)


def _times(own: Measured | None, base: Measured | None) -> Ratio | None:
    return ratio(own[1], base[1]) if own and base else None


def _exactly(value: float | None) -> Ratio | None:
    return None if value is None else Ratio(value=value, low=value, high=value)


def _partitions(field: _Field) -> Ratio | None:
    ours = field.ours("fp32")
    return _exactly(ours[0].partitions) if ours else None


def _outside(field: _Field) -> Ratio | None:
    ours = field.ours("fp32")
    return _exactly(sum(ours[0].outside.values())) if ours else None


def _faster_than_naive(field: _Field) -> Ratio | None:
    return _times(field.naive(), field.ours("fp32"))


def _over_bound(field: _Field) -> Ratio | None:
    return _times(field.ours("fp32"), field.bound())


def _int8_over_ours(field: _Field) -> Ratio | None:
    return _times(field.ours("fp32"), field.ours("int8"))


def _int8_over_naive(field: _Field) -> Ratio | None:
    return _times(field.naive(), field.ours("int8"))


def _int8_size(field: _Field) -> Ratio | None:
    """Of our own fp32, which is smaller than the naive one: a merged classifier."""
    ours, int8 = field.ours("fp32"), field.ours("int8")
    return _exactly(100.0 * int8[0].size_bytes / ours[0].size_bytes) if ours and int8 else None


_Row = tuple[str, float, Unit, bool | None, Callable[[_Field], Ratio | None]]
"""Title, limit, unit, whether the limit is the least (True), the most (False) or exact (None)."""

_EXECUTORCH: tuple[_Row, ...] = (
    ("fp32: XNNPACK partitions, 1", 1.0, "count", None, _partitions),
    ("fp32: operations outside, 0", 0.0, "count", None, _outside),
    ("fp32: naive export's time over ours, at least 1.3", 1.3, "times", True, _faster_than_naive),
)
_ONNX: tuple[_Row, ...] = (
    (
        "fp32: best naive export's time over ours, at least 1.1",
        1.1,
        "times",
        True,
        _faster_than_naive,
    ),
    ("fp32: our time over the bound's, at most 1.4", 1.4, "times", False, _over_bound),
)
_INT8: tuple[_Row, ...] = (
    ("int8: our fp32's time over int8's, at least 1.5", 1.5, "times", True, _int8_over_ours),
    ("int8: best naive fp32's time over int8's, at least 2", 2.0, "times", True, _int8_over_naive),
    ("int8: size in percent of our fp32's, at most 30", 30.0, "percent", False, _int8_size),
)


def _judge(
    title: str, limit: float, unit: Unit, at_least: bool | None, value: Ratio | None
) -> Figure:
    return Figure(
        title=title, limit=limit, value=value, unit=unit, verdict=_verdict(limit, at_least, value)
    )


def _verdict(limit: float, at_least: bool | None, value: Ratio | None) -> Verdict:
    if value is None:
        return Verdict.NOT_MEASURED
    low = value.value if value.low is None else value.low
    high = value.value if value.high is None else value.high
    if at_least is None:
        return Verdict.REACHED if value.value == limit else Verdict.MISSED
    good, bad = (low >= limit, high < limit) if at_least else (high <= limit, low > limit)
    if good:
        return Verdict.REACHED
    return Verdict.MISSED if bad else Verdict.UNCERTAIN
