from __future__ import annotations

import os
from pathlib import Path

import pytest

from care_mobile.files import read_small


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"123")
    assert read_small(tmp_path / "f", 3) == b"123"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1234")
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read_small(tmp_path / "f", 3)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_small(tmp_path / "pipe", 3)
    with pytest.raises(OSError, match="not a regular file"):
        read_small(Path(os.devnull), 3)
    with pytest.raises(IsADirectoryError):
        read_small(tmp_path, 3)
    with pytest.raises(OSError, match="name too long"):
        read_small(tmp_path / ("n" * 300), 3)
