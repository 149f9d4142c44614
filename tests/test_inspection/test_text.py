from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.inspection.text import amount, megabytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"), (0, "0"), (999, "999"), (1000, "1.00 k"), (1094, "1.09 k"),
        (123_456_789, "123.46 M"), (5 * 10**9, "5.00 G"), (10**12, "1.00 T"),
    ],
)  # fmt: skip
def test_amounts(count: int | None, text: str) -> None:
    assert amount(count) == text
    assert amount(count, at_least=True) == (text if count is None else f"at least {text}")


@given(st.integers(0, 10**400))
def test_no_number_is_too_large(count: int) -> None:
    """The largest float is below 10^309."""
    assert amount(count)
    assert megabytes(count)


@given(st.integers(10**6, 10**9 - 1))
def test_amounts_round_as_numbers_do(count: int) -> None:
    assert abs(float(amount(count).split()[0]) - count / 10**6) <= 0.005001
