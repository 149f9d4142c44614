from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from care_mobile.evaluation.intervals import paired_difference, proportion


@given(st.integers(1, 50_000), st.data())
def test_wilson_is_scipys(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total))
    found = proportion(count, total)
    want = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert found.share == count / total
    assert (found.low, found.high) == pytest.approx((want.low, want.high), abs=1e-12)
    assert 0.0 <= found.low <= found.share <= found.high <= 1.0


@given(st.integers(1, 5000), st.data())
def test_paired_difference(total: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, total))
    lost = data.draw(st.integers(0, total - gained))
    difference, low, high = paired_difference(gained, lost, total)
    assert difference == (gained - lost) / total
    assert -1.0 <= low < high <= 1.0
    mirrored = paired_difference(lost, gained, total)
    assert mirrored == pytest.approx((-difference, -high, -low))


def test_no_discordant_pair_is_no_certainty() -> None:
    difference, low, high = paired_difference(0, 0, 1000)
    assert difference == 0.0
    assert -0.005 < low < 0.0 < high < 0.005


def test_a_known_paired_interval() -> None:
    """Cells 12 and 4 of 100: (12.5 - 4.5) / 102 -+ 1.96 sqrt(17 - 64 / 102) / 102."""
    found = paired_difference(12, 4, 100)
    assert found == pytest.approx((0.08, 0.0007, 0.1562), abs=1e-4)


@pytest.mark.parametrize(("count", "total"), [(0, 0), (2, 1), (-1, 5)])
def test_impossible_counts_are_refused(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        proportion(count, total)
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference(count, 0, total)
