from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from care_mobile.bench.protocol.reading import RecordError, read_session

from ..conftest import GOLDEN

RECORD = GOLDEN / "v1" / "upgraded" / "session.jsonl"
Line = dict[str, Any]


def _lines() -> list[Line]:
    return [json.loads(line) for line in RECORD.read_bytes().splitlines()]


def _write(file: Path, lines: list[Line]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def _change(event: str, **change: Any) -> Callable[[list[Line]], None]:
    def make(lines: list[Line]) -> None:
        next(line for line in lines if line["event"] == event).update(change)

    return make


def _burst_of(cell: int) -> Callable[[list[Line]], None]:
    def make(lines: list[Line]) -> None:
        next(line for line in lines if line["event"] == "block")["bursts"][0]["cell"] = cell

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_change("session", record=3, plan="of another shape"), "version 3"),
        (_change("session", record=1), "version 1"),
        (_change("session", record="2"), "record"),
        (_change("launched", round=1), "round 1 is not in the plan"),
        (_change("landed", round=7), "round 7 is not in the plan"),
        (_change("landed", launch="other"), "other landed, but did not start"),
        (_change("loaded", cell=2), "cell 2 is not in the plan"),
        (_burst_of(2), "cell 2 is not in the plan"),
        (_change("block", start_ns=10**12), "not in order"),
        (lambda lines: lines.pop(0), "first line is no session"),
        (lambda lines: lines.clear(), "first line is no session"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(
    make: Callable[[list[Line]], None], says: str, tmp_path: Path
) -> None:
    lines = _lines()
    make(lines)
    with pytest.raises(RecordError, match=says) as caught:
        read_session(_write(tmp_path / "it.jsonl", lines))
    assert caught.value.hint and "\n" not in str(caught.value)


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    lines = _lines()
    lines[0]["mood"] = lines[0]["plan"]["mood"] = {"of": "tomorrow"}
    lines.insert(3, {"event": "dreamt", "round": 999, "cell": 999})
    assert read_session(_write(tmp_path / "it.jsonl", lines)) == read_session(RECORD)


def test_a_launch_that_did_not_land_is_left_out(tmp_path: Path) -> None:
    lines = [line for line in _lines() if line["event"] not in ("landed", "closed")]
    session = read_session(_write(tmp_path / "it.jsonl", lines))
    assert session.rounds == () and session.closed is None
    assert session.missing() == (0,)


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "it.jsonl"
    file.write_bytes(RECORD.read_bytes()[:-9])
    session = read_session(file)
    assert session.closed is None
    assert len(session.completed) == 1
