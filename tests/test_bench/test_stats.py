from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from care_mobile.bench.devices.scripted import Script
from care_mobile.bench.record import BlockSamples, RecordError, RunRecord
from care_mobile.bench.stats import (
    TAIL_SAMPLES,
    block_log_ratios,
    find_step,
    paired_ratio,
    summarize,
    windows_agree,
)

Play = Callable[..., list[RunRecord]]
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


@pytest.fixture
def two_records(play: Play) -> list[RunRecord]:
    return play(Script())


def _with_medians(record: RunRecord, medians: list[int]) -> RunRecord:
    blocks = tuple(
        BlockSamples(number=n, start_ns=n, samples_ns=(m - 1, m, m + 10**6))
        for n, m in enumerate(medians)
    )
    return record.model_copy(update={"blocks": blocks})


@given(
    st.lists(
        st.tuples(st.integers(10**4, 10**7), st.integers(10**4, 10**7)), min_size=2, max_size=12
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_interval_is_the_t_interval_of_block_log_ratios(
    two_records: list[RunRecord], medians: list[tuple[int, int]]
) -> None:
    a = _with_medians(two_records[0], [m[0] for m in medians])
    b = _with_medians(two_records[1], [m[1] for m in medians])
    logs = [math.log(x / y) for x, y in medians]
    assert block_log_ratios(a, b) == pytest.approx(logs)
    found = paired_ratio(a, b)
    mean, error = np.mean(logs), scipy_stats.sem(logs)
    assert found.ratio == pytest.approx(math.exp(mean))
    assert found.low is not None
    assert found.high is not None
    half = scipy_stats.t.ppf(0.975, len(logs) - 1) * error
    assert math.log(found.low) == pytest.approx(mean - half, abs=1e-9)
    assert math.log(found.high) == pytest.approx(mean + half, abs=1e-9)
    turned = paired_ratio(b, a)
    assert turned.ratio == pytest.approx(1 / found.ratio)
    assert turned.high == pytest.approx(1 / found.low)


def test_one_block_has_no_interval(play: Play) -> None:
    a, b = play(Script(latencies_ns={"a": (1000,), "b": (3000,)}), blocks=1)
    found = paired_ratio(b, a)
    assert found.ratio == pytest.approx(3)
    assert (found.low, found.high, found.blocks) == (None, None, 1)


def test_shared_drift_cancels(play: Play) -> None:
    a, b = play(Script())
    drift = [1000 * 2**n for n in range(8)]
    found = paired_ratio(_with_medians(b, [3 * d for d in drift]), _with_medians(a, drift))
    assert [found.ratio, found.low, found.high] == pytest.approx([3, 3, 3])


def test_only_blocks_of_both_count(play: Play) -> None:
    a, b = play(Script(latencies_ns={"a": (1000,), "b": (2000,)}))
    shorter = b.model_copy(update={"blocks": b.blocks[1:3]})
    assert len(block_log_ratios(a, shorter)) == len(block_log_ratios(shorter, a)) == 2
    with pytest.raises(RecordError, match="share no block"):
        block_log_ratios(a, b.model_copy(update={"blocks": ()}))


def test_other_sessions_are_no_partners(play: Play) -> None:
    a, b = play(Script())
    with pytest.raises(RecordError, match="different sessions"):
        paired_ratio(a, b.model_copy(update={"session_id": "other"}))


@pytest.mark.parametrize(
    ("values", "agree"),
    [
        ([], False),
        ([5], False),
        ([100, 102], True),
        ([100, 103], False),
        ([103, 100], False),
        ([900] * 10 + [100] * 10, True),
        ([200] * 5 + [100] * 5, False),
        ([100, 100, 100, 100, 900, 100, 100, 100, 100, 100], True),
    ],
)
def test_windows(values: list[int], agree: bool) -> None:
    assert windows_agree(values, window=5, tolerance=0.02) is agree


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
