from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from care_mobile.bench.harness import pages


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of many pages that was just read, on whatever holds temporary files here."""
    file = tmp_path / "model"
    file.write_bytes(os.urandom(64 * mmap.PAGESIZE + 5))
    file.read_bytes()
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        if pages._resident(stream.fileno()) != 65:
            pytest.skip("this system does not tell which pages are in memory")
    return file


def resident(file: Path) -> int:
    with file.open("rb") as stream:
        return pages._resident(stream.fileno())


def test_pages_are_gone_or_nobody_says_so(large: Path) -> None:
    gone = pages.drop([large])
    assert gone == (resident(large) == 0)
    content = large.read_bytes()
    assert len(content) == 64 * mmap.PAGESIZE + 5
    assert resident(large) > 0


def test_pages_that_stay_are_seen(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fadvise", lambda *asked: None, raising=False)
    assert not pages.drop([large])


def test_every_file_counts(tmp_path: Path, large: Path) -> None:
    if not pages.drop([large]):
        pytest.skip("pages stay in memory here")
    large.read_bytes()
    assert not pages.drop([tmp_path / "missing", large])
    assert resident(large) == 0


def test_an_empty_file_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert resident(tmp_path / "empty") == 0


def test_a_system_that_drops_nothing(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    assert not pages.drop([large])
