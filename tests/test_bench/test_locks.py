from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from care_mobile.bench.locks import DeviceBusyError, device_lock
from care_mobile.bench.protocol.record import DeviceReference
from care_mobile.errors import OutputError

DESKTOP = DeviceReference(kind="desktop")


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def untold(holder: str) -> None:
    raise AssertionError(holder)


HOLD = """
import sys
from care_mobile.bench.locks import device_lock
from care_mobile.bench.protocol.record import DeviceReference
with device_lock(DeviceReference(kind="desktop"), "theirs", 0.0, print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_holder_is_named_and_another_device_is_free() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(DeviceBusyError, match=f"process {other.pid}, session theirs") as busy,
            device_lock(DESKTOP, "mine", 0.0, untold),
        ):
            pass
        assert "--wait" in busy.value.hint
        with device_lock(DeviceReference(kind="android", serial="1"), "mine", 0.0, untold):
            pass
        other.kill()
        other.wait()
    with device_lock(DESKTOP, "mine", 0.0, untold):  # whatever ended it
        pass


def test_who_waits_is_told_for_whom_and_gets_the_device() -> None:
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def waiting(holder: str) -> None:
            told.append(holder)
            assert other.stdin is not None
            other.stdin.close()

        with device_lock(DESKTOP, "mine", 60.0, waiting):
            pass
    assert "session theirs" in told[0]


def test_a_lock_that_says_nonsense_still_holds(tmp_path: Path) -> None:
    with device_lock(DESKTOP, "mine", 0.0, untold):
        (file,) = (tmp_path / "care-mobile" / "locks").iterdir()
        file.write_bytes(os.urandom(100))
        with (
            pytest.raises(DeviceBusyError, match="another session"),
            device_lock(DESKTOP, "other", 0.0, untold),
        ):
            pass


def test_no_place_for_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot lock"), device_lock(DESKTOP, "s", 0.0, untold):
        pass
