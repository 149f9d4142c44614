from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.bench.stats import TAIL_SAMPLES, find_step, summarize

samples = st.lists(st.integers(1, 10**10), min_size=1, max_size=60)


@given(samples)
def test_a_summary_is_ordered_and_of_the_data(values: list[int]) -> None:
    found = summarize(values)
    assert found.count == len(values)
    assert found.minimum_ns == min(values)
    assert found.median_ns == median(values)
    assert found.minimum_ns <= found.p10_ns <= found.median_ns <= found.p90_ns <= max(values)
    assert found.mad_ns == median(abs(v - median(values)) for v in values)


@given(samples)
def test_a_summary_knows_no_order(values: list[int]) -> None:
    assert summarize(sorted(values)) == summarize(values)


def test_percentiles_are_the_usual_ones() -> None:
    found = summarize(list(range(0, 101)))
    assert (found.p10_ns, found.median_ns, found.p90_ns, found.mad_ns) == (10, 50, 90, 25)


def test_tails_need_samples() -> None:
    few = summarize([1] * (TAIL_SAMPLES - 1))
    assert (few.p95_ns, few.p99_ns) == (None, None)
    many = summarize(list(range(TAIL_SAMPLES + 1)))
    assert (many.p95_ns, many.p99_ns) == (950, 990)


def test_no_samples_have_no_summary() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


@given(st.lists(st.floats(100, 104), max_size=20))
def test_noise_below_the_threshold_is_no_step(values: list[float]) -> None:
    assert find_step(values) is None


@given(st.integers(3, 8), st.integers(3, 8), st.sampled_from((0.5, 2.0)), st.data())
def test_a_step_is_found_where_it_is(
    before: int, after: int, factor: float, data: st.DataObject
) -> None:
    noise = st.floats(100, 101)
    first = data.draw(st.lists(noise, min_size=before, max_size=before))
    second = data.draw(st.lists(noise, min_size=after, max_size=after))
    assert find_step([*first, *(factor * v for v in second)]) == before


def test_an_outlier_is_no_step() -> None:
    assert find_step([100, 100, 100, 300, 100, 100, 100, 100]) is None
    assert find_step([100, 100, 100, 100, 100, 100, 300, 300]) is None
