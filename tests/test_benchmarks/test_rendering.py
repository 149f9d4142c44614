"""The document says what the results say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.rendering import performance, times, write
from benchmarks.results import Comparison, Ratio
from care_mobile.errors import OutputError

from .support import comparison, contest_of

GOOD = {"ours": 1.0, "naive": 2.2, "other naive": 3.0, "bound": 0.8, "int8": 0.5}


def rows(document: str) -> list[list[str]]:
    """Cells of all table rows."""
    lines = [line for line in document.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def found() -> Comparison:
    return comparison(
        contest_of("executorch", GOOD),
        contest_of("onnx", GOOD | {"bound": 0.5}),
        contest_of("executorch", GOOD | {"naive": 1.1}, model="care_s1"),
        contest_of("onnx", GOOD, model="care_s1"),
    )


def test_every_figure_of_every_network_is_at_the_top(found: Comparison) -> None:
    top = performance(found).partition("## How it was measured")[0]
    table = {row[0]: row[1:] for row in rows(top)}
    assert table["executorch"] == ["care_s0", "care_s1"]
    for entered in found.contests:
        column = ["care_s0", "care_s1"].index(entered.model)
        for figure in entered.figures:
            assert table[figure.title][column].endswith(f": {figure.verdict.value}")
    assert table["fp32: our time over the bound's, at most 1.4"][0] == "2.00: missed"


def test_a_missed_figure_says_where_the_time_goes(found: Comparison) -> None:
    document = performance(found)
    assert "- care_s0, onnx, fp32: our time over the bound's" in document
    assert "1.00 ms; Conv, 1x1 75%, Gelu 25%, all else 0%." in document
    line = "- care_s1, executorch, fp32: naive export's time over ours, at least 1.3: "
    assert f"{line}1.00 ms; 1x1 convolutions alone 80%." in document


def test_layers_alone_may_sum_to_more_than_the_whole() -> None:
    slow_parts = comparison(contest_of("executorch", GOOD | {"bound": 1.5}))
    assert "| all else | | nothing left: alone, they sum to 150 % |" in performance(slow_parts)
    usual = comparison(contest_of("executorch", GOOD))
    assert "| all else: attention, sums, copies | 0.20 | 20 % |" in performance(usual)


def test_by_operator_an_integer_bundle_in_executorch_has_counts_only() -> None:
    missed = comparison(contest_of("executorch", GOOD | {"int8": 0.9}))
    assert "0.90 ms; by operator only counts are known." in performance(missed)


def test_tables_are_whole(found: Comparison) -> None:
    """Every row of a table has as many cells as its header."""
    for block in re.findall(r"(?:^\|.*\n)+", performance(found), re.MULTILINE):
        widths = {line.count("|") for line in block.splitlines()}
        assert len(widths) == 1, block


def test_nothing_is_left_of_the_template(found: Comparison) -> None:
    document = performance(found)
    assert not re.search(r"\{[{%]|[%}]\}", document)
    assert "\n\n\n" not in document


def test_intervals() -> None:
    assert times(Ratio(value=1.314, low=1.291, high=1.337)) == "1.31 (1.29 to 1.34)"
    assert times(Ratio(value=1.0, low=None, high=None)) == "1.00"


def test_the_json_is_the_results(found: Comparison, tmp_path: Path) -> None:
    path = write(tmp_path / "new", "performance", "text\n", found)
    assert path.read_text() == "text\n"
    assert Comparison.model_validate_json(path.with_suffix(".json").read_text()) == found


def test_a_place_that_cannot_be_written(found: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file", "performance", "", found)
