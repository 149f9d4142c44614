from __future__ import annotations

import csv
from io import StringIO

import pytest
from golden_files import check_golden

from care_mobile.bench.report.table_csv import table_csv

from .views import STATES, different, functional, hostile_names, row, scripted, session


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline="")))


@pytest.mark.parametrize("state", STATES)
def test_each_state_looks_as_committed(state: str) -> None:
    check_golden(f"bench/report/{state}.csv", table_csv(STATES[state]()))


def test_numbers_are_plain_in_both_units() -> None:
    first, second = rows_of(table_csv(different()))
    assert (first["median_ms"], first["median_ns"]) == ("10.0", "10000000")
    assert (second["ratio"], second["ratio_low"], second["relation"]) == ("1.09", "1.05", "slower")
    assert table_csv(different()).count("\r\n") == 3


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", " =1", "|x", "＝1"])
def test_no_name_is_a_formula(name: str) -> None:
    view = session([row(0, name)], different().conclusion)
    assert rows_of(table_csv(view))[0]["cell"] == f"'{name.strip()}"


def test_names_with_commas_and_quotes_read_back() -> None:
    view = session([row(0, 'a,"b"'), row(1, "c d")], different().conclusion)
    assert [found["cell"] for found in rows_of(table_csv(view))] == ['a,"b"', "c d"]
    assert rows_of(table_csv(hostile_names()))[3]["cell"] == "café-ß-Ω-é"


def test_the_kind_of_record_is_in_every_row() -> None:
    assert {found["kind"] for found in rows_of(table_csv(scripted()))} == {"scripted"}
    (found,) = rows_of(table_csv(functional()))
    assert found["kind"] == "functional"
    assert not any(
        value
        for title, value in found.items()
        if title.endswith(("_ms", "_ns")) or "ratio" in title
    )
