"""One session at a time on a device: a lock that names who holds it.

The system lifts it whatever ends a process; the file stays and says nothing by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from care_mobile.errors import CareError, OutputError
from care_mobile.processes.marks import cache_folder

from .protocol.base import date_of
from .protocol.record import DeviceReference

try:
    import fcntl
except ImportError:  # Windows: sessions are on their honour
    fcntl = None  # type: ignore[assignment]

_MOST_TOLD = 400
_AGAIN_SECONDS = 0.5


class DeviceBusyError(CareError):
    """Another session measures on the device."""

    exit_code = 5


@contextmanager
def device_lock(
    device: DeviceReference, session: str, wait_seconds: float, waiting: Callable[[str], None]
) -> Iterator[None]:
    """Hold a device.

    Args:
        waiting: told who holds it, when there is something to wait for.

    Raises:
        DeviceBusyError: if another session holds it for longer than `wait_seconds`.
        OutputError: if there is no place for locks.
    """
    if fcntl is None:
        yield
        return
    handle = _open(device)
    try:
        deadline = time.monotonic() + wait_seconds
        while not _take(handle):
            holder = _holder(handle)
            if time.monotonic() >= deadline:
                raise DeviceBusyError(
                    f"{device.kind} is in use by {holder}", "wait for it, or give --wait SECONDS"
                )
            waiting(holder)
            time.sleep(_AGAIN_SECONDS)
        _sign(handle, session)
        yield
    finally:
        os.close(handle)


def _open(device: DeviceReference) -> int:
    identity = sha256(repr((device.kind, device.serial, device.host)).encode()).hexdigest()[:12]
    folder = cache_folder().with_name("locks")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / f"{device.kind}-{identity}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OutputError(
            f"cannot lock {device.kind} in {folder}: {error.strerror}",
            "set XDG_CACHE_HOME to a folder that can be written",
        ) from error


def _take(handle: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sign(handle: int, session: str) -> None:
    told = {
        "pid": os.getpid(),
        "command": Path(sys.argv[0]).name,
        "since": date_of(datetime.now(timezone.utc)),
        "session": session,
    }
    with suppress(OSError):  # it holds, signed or not
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(told).encode(), 0)


def _holder(handle: int) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(os.pread(handle, _MOST_TOLD, 0))
        return (
            f"{told['command']} (process {told['pid']}, session {told['session']}, "
            f"since {told['since']})"
        )
    return "another session"
