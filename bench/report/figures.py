"""Numbers as people read them: as many digits as tell, never fewer than keep the meaning."""

from __future__ import annotations

from .view import LatencyView, RatioView, Relation

MARKS = {Relation.EQUAL: "~ ", Relation.UNCLEAR: "? "}
_MOST_DECIMALS = 5


def ms(time_ns: float) -> str:
    """Nanoseconds as milliseconds: three decimals, more for what is shorter than 0.1 ms."""
    value = time_ns / 1e6
    if value >= 1000:
        return f"{value:.1f}"
    if value >= 0.1 or value == 0:
        return f"{value:.3f}"
    return f"{value:.4f}" if value >= 0.01 else f"{value:.6f}"


def seconds(time_ns: float) -> str:
    """A duration in words: `75 s`, `2 min 5 s`, `1 h 2 min`."""
    whole = round(time_ns / 1e9)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(size_bytes: int) -> str:
    """Bytes in B, kB, MB or GB."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    for unit, factor in (("kB", 1e3), ("MB", 1e6)):
        if size_bytes < factor * 999.95:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes / 1e9:.1f} GB"


def interval(value: float, low: float | None, high: float | None) -> str:
    """A ratio with its interval. A bound that is not 1 is not written as 1."""
    if low is None or high is None:
        return _number(value, 2)
    decimals = _decimals(low, high)
    return f"{_number(value, decimals)} [{_number(low, decimals)}, {_number(high, decimals)}]"


def _number(value: float, decimals: int) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.{decimals}f}" if value >= 0.1 else f"{value:.2g}"


def _decimals(low: float, high: float) -> int:
    for decimals in range(2, _MOST_DECIMALS):
        texts = [f"{bound:.{decimals}f}" for bound in (low, high)]
        blurred = 1.0 in map(float, texts) and 1.0 not in (low, high)
        narrow = low != high and texts[0] == texts[1]
        if not blurred and not narrow:
            return decimals
    return _MOST_DECIMALS


def latency(found: LatencyView) -> str:
    """The median with its interval, in ms."""
    if found.low_ns is None or found.high_ns is None:
        return ms(found.median_ns)
    return f"{ms(found.median_ns)} [{ms(found.low_ns)}, {ms(found.high_ns)}]"


def ratio(found: RatioView) -> str:
    """A row against the reference, `~` before it where they do not differ, `?` if unclear."""
    if found.relation is Relation.REFERENCE:
        return "1"
    return MARKS.get(found.relation, "") + interval(found.ratio, found.low, found.high)


def percent(share: float) -> str:
    """A share such as 0.03 as `3 %`."""
    return f"{share * 100:.3g} %"


def counted(count: int, noun: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(words: list[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
