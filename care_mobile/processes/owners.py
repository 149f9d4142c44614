"""Whether the process that began something, and left its number in its name, still lives."""

from __future__ import annotations

import os
from pathlib import Path

_CLOCK_SECONDS = 2.0
"""How far the clocks of processes and of files may differ."""


def lives(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def abandoned(path: Path, pid: int) -> bool:
    """Whether process `pid`, which made `path`, is gone; numbers come round again, so a process
    that began after `path` was last written did not make it."""
    if not lives(pid):
        return True
    import psutil

    try:
        began = psutil.Process(pid).create_time()
    except psutil.Error:
        return not lives(pid)
    return bool(began > path.lstat().st_mtime + _CLOCK_SECONDS)
