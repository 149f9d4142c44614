from __future__ import annotations

from io import StringIO

import pytest
from golden_files import check_golden
from rich.cells import cell_len
from rich.console import Console

from care_mobile.bench.protocol.record import RoundStatus
from care_mobile.bench.report import columns
from care_mobile.bench.report.terminal import print_view
from care_mobile.bench.report.view import FindingView, RoundView, SessionView
from care_mobile.bench.validity import Severity

from .views import STATES, different, functional, hostile_names, long_names, many, scripted


def printed(view: SessionView, width: int) -> str:
    out = StringIO()
    print_view(view, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("state", STATES)
def test_each_state_looks_as_committed(state: str, width: int) -> None:
    check_golden(f"bench/report/{state}-{width}.txt", printed(STATES[state](), width))


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("state", STATES)
def test_no_figure_is_cut_and_no_line_too_long(state: str, width: int) -> None:
    view = STATES[state]()
    text = printed(view, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    for table in columns.tables(view):
        for column in table:
            if column.title != columns.NAME and column.keep >= columns.NEEDED:
                assert all(cell in text for cell in column.cells)


def test_what_has_no_room_is_named_and_a_wide_terminal_has_room_for_all() -> None:
    assert "No room for: p10, min, samples, size" in printed(different(), 80)
    assert "No room for" not in printed(different(), 160)


def test_names_are_no_markup() -> None:
    text = printed(hostile_names(), 120)
    assert "[bold red]x[/]" in text
    assert "[link=http://x]y[/link]" in text


def test_a_long_name_is_folded_and_whole() -> None:
    view = long_names()
    text = printed(view, 80)
    first_column = "".join(
        line[3:50].split("  ")[0].strip() for line in text.split("\n\n")[0].splitlines()[1:]
    )
    assert all(row.label in first_column for row in view.rows)


def test_a_functional_run_shows_no_time() -> None:
    text = printed(functional(), 120)
    assert " ms" not in text
    assert text.startswith("FUNCTIONAL")


def test_a_script_is_said_before_and_beside_every_figure() -> None:
    text = printed(scripted(), 120)
    assert text.startswith("SCRIPTED")
    assert "scripted ms" in text
    assert "median ms" not in text


def test_many_intervals_are_said_to_err_sometimes() -> None:
    text = " ".join(printed(many(), 120).split())
    assert "Each of 23 intervals may miss" in text and "for the luckiest of all pairs" in text
    assert "may miss" not in printed(different(), 120)


def test_words_of_a_harness_stay_in_their_line() -> None:
    forged = "odd\n\nRecord: somewhere\n\nA ran 9.00 times faster than B." + "y" * 2000
    noted = FindingView(code="noted", severity=Severity.INFO, detail=forged, rows=())
    lost = RoundView(round=2, status=RoundStatus.CRASHED, code="signal", detail=forged)
    text = printed(different().model_copy(update={"findings": (noted,), "lost": (lost,)}), 120)
    assert "noted: odd Record: somewhere A ran 9.00" in text
    assert "signal: odd Record: somewhere A ran 9.00" in text
    assert text.count("y") < 1000
