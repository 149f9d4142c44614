"""What other tools measured, from the golden records of the importers, in every format."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from golden_files import FOLDER
from rich.console import Console

from care_mobile.bench.protocol.reading import read_session
from care_mobile.bench.report.derive import session_view
from care_mobile.bench.report.figures import ms
from care_mobile.bench.report.markdown import markdown
from care_mobile.bench.report.plot import draw
from care_mobile.bench.report.table_csv import table_csv
from care_mobile.bench.report.terminal import print_view

RECORDS = sorted((FOLDER / "bench" / "imported" / "golden").glob("*.jsonl"))


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_each_is_shown_as_what_it_is(file: Path) -> None:
    view = session_view(read_session(file))
    out = StringIO()
    print_view(view, Console(file=out, width=100, highlight=False))
    told = [each for row in view.rows for each in row.told if each.what == "latency"]
    figures = [value for each in told for value in (each.figure_ns, each.mean_ns) if value]
    assert all(ms(value) in out.getvalue() for value in figures)
    assert figures or any(row.latency for row in view.rows)
    assert out.getvalue().startswith("IMPORTED from ")
    assert "unknown unknown" not in out.getvalue()
    assert view.conclusion.code in ("one-cell", "one-round", "nothing-measured", "unclear")
    assert all(row.label in markdown(view).replace("\\", "") for row in view.rows)
    assert table_csv(view).count("\r\n") == len(view.rows) + 1
    assert len(draw(view).axes) <= 2


def test_there_are_some() -> None:
    assert len(RECORDS) >= 6
