from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.text import is_line, shortened, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größer, 大きい, ✓", "größer, 大きい, ✓"),
        ("two\n\tlines", "two\n\tlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\rc\x9bd", "a\\x00b\\x0dc\\x9bd"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("line\u2028break", "line\\u2028break"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_acts_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_whatever_is_shown_can_be_printed_and_is_shown_as_it_is(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert visible(shown) == shown
    assert "\x1b" not in shown


def test_a_line() -> None:
    assert is_line("care_s0 ✓")
    assert not any(map(is_line, ("a\nb", "a\tb", "a\x1b[0m", "\u202e")))


@given(st.text(max_size=300), st.integers(3, 100))
def test_a_short_form(text: str, length: int) -> None:
    short = shortened(text, length)
    assert len(short) <= length
    assert short == text or ("…" in short and short[0] == text[0])
