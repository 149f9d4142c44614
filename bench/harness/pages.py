"""Take a file's pages out of memory, and prove that they are gone.

Only Linux takes them out for who asks; where pages cannot be shown to be gone, nobody may call
what follows a cold load.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def drop(files: Iterable[Path]) -> bool:
    """Whether no page of any of the files is in memory any more."""
    gone = [_drop(file) for file in files]
    return all(gone)


def _drop(file: Path) -> bool:
    if not hasattr(os, "posix_fadvise") or not sys.platform.startswith("linux"):
        return False
    try:
        with file.open("rb") as stream:
            with suppress(OSError):  # of another user: what is written anyhow goes
                os.fsync(stream.fileno())  # pages that are not on the disk yet stay
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return not _resident(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False


def _resident(descriptor: int) -> int:
    """Pages of a file that are in memory; mapping it brings none there."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0
    pages = -(-size // mmap.PAGESIZE)
    told = (ctypes.c_ubyte * pages)()
    library = ctypes.CDLL(None, use_errno=True)
    # Private and writable only because ctypes takes the address of nothing else.
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        try:
            failed = library.mincore(
                ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(size), told
            )
        finally:
            del first
        if failed:
            raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in told)
