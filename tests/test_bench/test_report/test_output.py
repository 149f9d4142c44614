from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from care_mobile.bench.protocol.record import Session
from care_mobile.bench.report.output import show
from care_mobile.errors import OutputError
from care_mobile.requirements import Availability
from care_mobile.selection import PassedOver

from ..sessions import session_of


@dataclass(frozen=True)
class Left:
    path: Path
    reason: Availability


@dataclass(frozen=True)
class Found:
    session: Session
    file: Path = Path("records/x.jsonl")
    skipped: tuple[Left, ...] = (
        Left(Path("x/c"), Availability(False, "needs a Mac", "run this on a Mac")),
    )
    passed_over: tuple[PassedOver, ...] = (PassedOver(path="x/README.md", reason="a file"),)


@pytest.mark.parametrize(
    ("form", "start"),
    [("table", "#  cell"), ("json", "{"), ("markdown", "**"), ("csv", "session,")],
)
def test_every_format_is_printed(form: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Found(session_of()), form, None)
    out, err = capsys.readouterr()
    assert out.startswith(start)
    assert "tiny-1" in out
    assert err == ""


def test_what_was_left_out_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    show(Found(session_of()), "json", None)
    found = json.loads(capsys.readouterr().out)
    assert found["skipped"] == [
        {"name": "c", "reason": "needs a Mac", "remedy": "run this on a Mac"}
    ]
    assert found["passed_over"][0]["name"] == "x/README.md"
    assert found["record"] == "records/x.jsonl"
    show(Found(session_of()), "table", None)
    assert "skipped: c: needs a Mac; try: run this on a Mac" in capsys.readouterr().out


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.svg"
    file.write_text("old")
    show(Found(session_of()), "csv", file)
    assert file.read_text().startswith("<?xml")
    assert os.listdir(tmp_path) == ["x.svg"]


def test_a_place_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        show(Found(session_of()), "csv", tmp_path / "no" / "x.png")
    assert capsys.readouterr().out  # what was measured is told all the same
