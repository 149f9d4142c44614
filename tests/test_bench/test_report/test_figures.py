from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.bench.report.figures import counted, interval, listed, ms, seconds, size


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0.000"),
        (27, "0.000027"),
        (9_999, "0.009999"),
        (12_345, "0.0123"),
        (187_654, "0.188"),
        (10_000_000, "10.000"),
        (999_999_999, "1000.000"),
        (1_234_567_890, "1234.6"),
    ],
)
def test_milliseconds_keep_what_tells(time_ns: int, text: str) -> None:
    assert ms(time_ns) == text


@given(st.integers(1, 2**63 - 1))
def test_milliseconds_are_within_a_hundredth(time_ns: int) -> None:
    assert abs(float(ms(time_ns)) * 1e6 - time_ns) <= max(0.01 * time_ns, 0.5)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((1.09, 1.05, 1.13), "1.09 [1.05, 1.13]"),
        ((1.0031, 1.0012, 1.0049), "1.003 [1.001, 1.005]"),
        ((1.02, 1.004, 1.036), "1.020 [1.004, 1.036]"),
        ((1.05, None, None), "1.05"),
        ((0.0004, 0.0003, 0.0005), "0.0004 [0.0003, 0.0005]"),
        ((7.398, 2.1e-7, 45173135.99), "7.40 [2.1e-07, 45173136]"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((12345.7, 12000.5, 12999.1), "12346 [12000, 12999]"),
    ],
)
def test_intervals(bounds: tuple[float, float | None, float | None], text: str) -> None:
    assert interval(*bounds) == text


@given(st.floats(0.01, 100), st.floats(1e-4, 1))
def test_a_bound_beside_1_is_not_written_as_1(low: float, width: float) -> None:
    high = low * (1 + width)
    bounds = re.findall(r"[\d.]+(?=[,\]])", interval((low * high) ** 0.5, low, high))
    for bound, text in zip((low, high), bounds, strict=True):
        assert float(text) != 1 or abs(bound - 1) < 1e-4


def test_sizes_durations_and_lists() -> None:
    assert [size(n) for n in (8, 1000, 999_949, 999_950, 29_300_000, 3 * 10**9)] == [
        "8 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "29.3 MB",
        "3.0 GB",
    ]
    assert [seconds(n * 10**9) for n in (0, 99, 120, 125, 3600, 3725)] == [
        "0 s",
        "99 s",
        "2 min",
        "2 min 5 s",
        "1 h",
        "1 h 2 min",
    ]
    assert [listed(words) for words in ([], ["A"], ["A", "B"], ["A", "B", "C"])] == [
        "",
        "A",
        "A and B",
        "A, B and C",
    ]
    assert (counted(1, "round"), counted(1200, "round")) == ("1 round", "1,200 rounds")
