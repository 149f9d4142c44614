from __future__ import annotations

from pathlib import Path

import pytest

from care_mobile.processes import marks


def test_marks_do_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_MOST_REMEMBERED", 3)
    for number in range(10):
        marks.remember(tmp_path / str(number))
    assert 1 <= len(list(tmp_path.iterdir())) <= 3


def test_where_nothing_can_be_remembered_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    marks.remember(tmp_path / "file" / "mark")
