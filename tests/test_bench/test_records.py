from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from care_mobile.bench.protocol.reading import RecordError
from care_mobile.bench.records import open_record

from .conftest import GOLDEN

NEW = GOLDEN / "v1" / "upgraded" / "session.jsonl"
OLD = GOLDEN / "v1" / "20261126T131845Z-7ecd22a3"


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.jsonl"
    new.write_bytes(NEW.read_bytes())
    old.write_bytes(next(OLD.iterdir()).read_bytes())
    assert open_record(new) == open_record(NEW)
    assert open_record(old).opened.origin


def test_both_versions_of_a_session_are_the_same() -> None:
    assert open_record(OLD) == open_record(NEW)


def test_an_old_record_may_be_one_line(tmp_path: Path) -> None:
    text = next(OLD.iterdir()).read_text()
    (tmp_path / "r.json").write_text(" ".join(text.split()))
    assert open_record(tmp_path / "r.json") == open_record(next(OLD.iterdir()))


def _folder(path: Path) -> None:
    path.mkdir()


def _records(path: Path) -> None:
    path.mkdir()
    (path / "20260102T030405Z-00c0ffee.jsonl").write_bytes(NEW.read_bytes())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (_folder, "holds no records"),
        (_records, "its sessions' files"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_bytes(b""), "is no record"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no record"),
        (lambda path: path.write_text("[1]"), "is no record"),
        (lambda path: path.write_text('{"schema_version": 3}'), "is no record"),
        (lambda path: path.write_text("[" * 100_000), "is no record"),
        (lambda path: path.write_text('{"event": "hello"}\n'), "no record|no event"),
        (lambda path: path.write_text('{"event": "session", "record": 3}\n'), "version 3"),
        (lambda path: path.write_bytes(NEW.read_bytes()[:500]), "is no record"),
        (lambda path: path.write_text(NEW.read_text().replace('"n":1', '"n":-1')), "n:"),
    ],
)
def test_what_is_no_record_is_told_in_a_line(
    make: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    make(path)
    with pytest.raises(RecordError, match=says) as caught:
        open_record(path)
    assert "\n" not in str(caught.value) and caught.value.hint
