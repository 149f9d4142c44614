from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from care_mobile.errors import OutputError
from care_mobile.processes import scratch as module
from care_mobile.processes.scratch import PREFIX, scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_temporary_files_of_all_kinds_lie_in_it_and_are_gone(temporary: Path) -> None:
    with scratch() as folder:
        assert folder.parent == temporary
        assert Path(tempfile.mkdtemp()).parent == folder
        child = "import tempfile; print(tempfile.mkdtemp())"
        made = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, check=True)
        assert Path(made.stdout.decode().strip()).parent == folder
    assert list(temporary.iterdir()) == []
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(temporary)


def test_a_block_inside_another_has_the_same_folder(temporary: Path) -> None:
    with scratch() as outer:
        with scratch() as inner:
            assert inner == outer
        assert outer.is_dir()


def test_it_is_removed_on_an_error(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), scratch() as folder:  # noqa: PT012
        (folder / "a").mkdir()
        (folder / "a" / "b").write_bytes(b"c")
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


HOLD = """
import sys
from care_mobile.processes.scratch import scratch
with scratch() as folder:
    (folder / "weights.bin").write_bytes(b"1234")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_process_is_swept_and_that_of_a_living_one_is_not(
    temporary: Path,
) -> None:
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        dead, living = (Path(h.stdout.readline().strip()) for h in holders if h.stdout)
        holders[0].kill()
        holders[0].wait()
        assert dead.is_dir()
        with scratch():
            assert not dead.exists()
            assert (living / "weights.bin").is_file()
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_a_process_of_the_same_number_does_not_keep_a_folder(temporary: Path) -> None:
    """As pids come round again: this process lives, but never locked the folder."""
    stale = temporary / f"{PREFIX}{os.getpid()}-stale"
    stale.mkdir()
    (stale / "owner.lock").touch()
    with scratch():
        assert not stale.exists()


def test_a_folder_without_lock_is_swept_when_it_is_old_and_its_process_is_gone(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale = temporary / f"{PREFIX}{gone.pid}-begun"
    stale.mkdir()
    with scratch():
        assert stale.is_dir()  # it may have been made this instant, in another container
    monkeypatch.setattr(module, "_YOUNG_SECONDS", -1.0)
    with scratch():
        assert not stale.exists()


def test_what_is_not_ours_stays(temporary: Path, tmp_path: Path) -> None:
    (temporary / f"{PREFIX}notes.txt").touch()
    (temporary / f"{PREFIX}nobody-x").mkdir()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "owner.lock").touch()
    (temporary / f"{PREFIX}1-link").symlink_to(target)
    with scratch():
        pass
    assert len(list(temporary.iterdir())) == 3
    assert (target / "owner.lock").is_file()


def test_no_place_for_temporary_files_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(OutputError, match="temporary files: No such file") as caught, scratch():
        pass
    assert "TMPDIR" in caught.value.hint
