"""Small files from anywhere, read without being held up or overwhelmed by them, and files that
appear whole."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def read_small(path: Path, most_bytes: int) -> bytes:
    """The content of a regular file; a pipe would be waited for, a device may never end.

    Raises:
        OSError: if it is none, is larger than `most_bytes`, or cannot be read.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes} bytes", str(path))
    return path.read_bytes()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, in place of what was there.

    Raises:
        OSError: if the disk refuses; then nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
