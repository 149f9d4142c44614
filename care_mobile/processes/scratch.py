"""One scratch folder per command, in the system's temporary folder.

While it is open, temporary files of this process and of those it starts go there: converters leave
some of the size of the weights. It is removed at the end. The folder of a process that was killed
is removed by the next one that opens its own: a lock, which the system lifts whatever ends a
process, tells whether its owner lives, also across containers that share the folder.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import OutputError
from . import children
from .owners import lives

try:
    import fcntl
except ImportError:  # Windows: nobody's folder is swept
    fcntl = None  # type: ignore[assignment]

PREFIX = "care-mobile-"
_LOCK = "owner.lock"
_VARIABLE = "TMPDIR"
_YOUNG_SECONDS = 60.0


class _Opened(NamedTuple):
    folder: Path
    lock: int
    variable: str | None
    default: str | None


_guard = threading.Lock()
_opened: _Opened | None = None
_users = 0


@contextmanager
def scratch() -> Iterator[Path]:
    """Open this process's scratch folder; inside another block, the same one.

    Raises:
        OutputError: if there is no place for temporary files.
    """
    global _opened, _users  # noqa: PLW0603 - temporary files have one place per process
    with _guard:
        if _opened is None:
            _opened = _open()
        opened = _opened
        _users += 1
    try:
        yield opened.folder
    finally:
        with _guard:
            _users -= 1
            if _users == 0:
                _opened = None
                _close(opened)


def _open() -> _Opened:
    try:
        parent = Path(tempfile.gettempdir())
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        lock = _locked(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write temporary files: {error.strerror or error}",
            "free some space, or set TMPDIR to a folder that can be written",
        ) from error
    opened = _Opened(folder, lock, os.environ.get(_VARIABLE), tempfile.tempdir)
    os.environ[_VARIABLE] = tempfile.tempdir = str(folder)
    children.tidy(folder)
    return opened


def _locked(folder: Path) -> int:
    # Locked before it has the name by which others look for it.
    fresh = folder / f"{_LOCK}.new"
    lock = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.rename(folder / _LOCK)
    return lock


def _close(opened: _Opened) -> None:
    tempfile.tempdir = opened.default
    if opened.variable is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = opened.variable
    try:
        shutil.rmtree(opened.folder, ignore_errors=True)
    except BaseException:  # an interrupt, of which there is one only
        shutil.rmtree(opened.folder, ignore_errors=True)
        raise
    finally:
        children.dismiss_janitor()
        with suppress(OSError):
            os.close(opened.lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of ours whose owners are gone; whatever cannot be removed stays."""
    if fcntl is None:
        return
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError):
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if _owned(folder, found.st_mtime):
                continue
            shutil.rmtree(folder, ignore_errors=True)


def _owned(folder: Path, changed: float) -> bool:
    """Whether the process that made a folder may live."""
    assert fcntl is not None
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # killed before it could lock, or where nothing can be locked
        pid = int(folder.name.removeprefix(PREFIX).partition("-")[0])
        return lives(pid) or time.time() - changed < _YOUNG_SECONDS
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
