from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from golden_files import check_file
from rich.console import Console

from care_mobile.bench.devices.scripted import Event, EventKind, Script
from care_mobile.bench.record import RunRecord
from care_mobile.bench.results import BenchResult, bench_result_schema, summarize_session
from care_mobile.bench.session import SessionResult, Skipped
from care_mobile.bench.table import print_results
from care_mobile.requirements import Availability

from .conftest import GOLDEN, STAMP, schema_file, schema_text

Play = Callable[..., list[RunRecord]]
TWO = {"a": (2_000_000, 2_100_000, 1_900_000), "b": (1_000_000, 1_020_000)}


def session_of(records: list[RunRecord], paths: tuple[str, ...] = ("x/a", "x/b")) -> SessionResult:
    folder = Path("records") / STAMP.session_id
    return SessionResult(
        stamp=STAMP,
        records=tuple(records),
        files=tuple(folder / f"{r.bundle_index:02d}-{r.bundle.name}.json" for r in records),
        paths=tuple(map(Path, paths)),
        skipped=(Skipped(Path("x/c"), Availability(False, "needs a Mac", "run this on a Mac")),),
    )


def table_of(result: BenchResult) -> str:
    out = StringIO()
    print_results(result, Console(file=out, width=120, highlight=False))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


@pytest.fixture
def finished(play: Play) -> BenchResult:
    return summarize_session(session_of(play(Script(latencies_ns=TWO))))


@pytest.fixture
def one_failed(play: Play) -> BenchResult:
    events = (
        Event(kind=EventKind.FAIL, block=3, bundle="b"),
        Event(kind=EventKind.THROTTLE, block=2),
    )
    return summarize_session(session_of(play(Script(latencies_ns=TWO, events=events))))


def test_rows_go_from_the_fastest_to_the_slowest(finished: BenchResult) -> None:
    assert [(row.rank, row.bundle.name, row.index) for row in finished.rows] == [
        (1, "b", 1),
        (2, "a", 0),
    ]
    fastest, slower = (row.ratio_to_fastest for row in finished.rows)
    assert fastest is not None
    assert slower is not None
    assert (fastest.ratio, fastest.low, fastest.high) == (1, 1, 1)
    assert slower.ratio == pytest.approx(2, abs=0.1)


def test_a_failed_bundle_has_no_figures(one_failed: BenchResult) -> None:
    row = one_failed.rows[-1]
    assert (row.bundle.name, row.rank, row.latency, row.ratio_to_fastest) == ("b", None, None, None)
    assert one_failed.rows[0].ratio_to_fastest is not None


def test_functional_runs_have_no_figures(play: Play) -> None:
    result = summarize_session(session_of(play(Script(functional=True))))
    assert {(row.latency, row.rank) for row in result.rows} == {(None, None)}
    text = table_of(result)
    assert "functional" in text
    assert "it shows that bundles run, not how fast" in text


def test_json_golden(one_failed: BenchResult) -> None:
    text = one_failed.model_dump_json(indent=2) + "\n"
    check_file(GOLDEN / "bench-result.json", text)
    assert BenchResult.model_validate_json(text) == one_failed


def test_json_schema_is_current() -> None:
    check_file(schema_file("bench-result.json"), schema_text(bench_result_schema()))


def test_table_golden(finished: BenchResult) -> None:
    check_file(GOLDEN / "table.txt", table_of(finished))


def test_table_with_a_failure_golden(one_failed: BenchResult) -> None:
    check_file(GOLDEN / "table-failed.txt", table_of(one_failed))


def test_one_name_twice_is_told_apart(play: Play) -> None:
    records = play(Script(latencies_ns=TWO))
    named = [
        record.model_copy(update={"bundle": record.bundle.model_copy(update={"name": "same"})})
        for record in records
    ]
    by_path = table_of(summarize_session(session_of(named, ("old/same", "new/same"))))
    assert "old/same" in by_path
    assert "new/same" in by_path
    by_number = table_of(summarize_session(session_of(named, ("same", "same"))))
    assert "1  same (2)" in by_number
    assert "2  same (1)" in by_number


def test_a_desktop_is_not_a_phone_and_random_weights_are_named(finished: BenchResult) -> None:
    desktop = finished.machine.model_copy(update={"device": "desktop", "virtualised": True})
    pinned = finished.rows[0].runtime.model_copy(update={"affinity": (0, 2)})
    rows = tuple(row.model_copy(update={"runtime": pinned}) for row in finished.rows)
    text = table_of(finished.model_copy(update={"machine": desktop, "rows": rows}))
    assert "they are not a phone's" in text
    assert "virtual machine" in text
    assert "on cpu 0,2" in text
    trained = tuple(
        row.model_copy(update={"bundle": row.bundle.model_copy(update={"random_weights": False})})
        for row in finished.rows
    )
    assert "never accuracy" in text
    assert "never accuracy" not in table_of(finished.model_copy(update={"rows": trained}))


def test_names_are_not_markup(finished: BenchResult) -> None:
    odd = finished.rows[0].bundle.model_copy(update={"name": "[red]x[/red]"})
    rows = (finished.rows[0].model_copy(update={"bundle": odd}), finished.rows[1])
    assert "[red]x[/red]" in table_of(finished.model_copy(update={"rows": rows}))


def test_json_is_plain(finished: BenchResult) -> None:
    data = json.loads(finished.model_dump_json())
    assert data["rows"][0]["latency"]["median_ns"] == 1_010_000
    assert data["skipped"] == [
        {"path": "x/c", "reason": "needs a Mac", "remedy": "run this on a Mac"}
    ]
