"""Git LFS: a clone without it holds a small text in the place of each large file."""

from __future__ import annotations

from pathlib import Path

from .errors import ModelFileError

_START = b"version https://git-lfs.github.com/spec/"
_LONGEST = 1024


def is_pointer(data: bytes) -> bool:
    """Whether `data`, or what begins with them, are such a text."""
    return data.startswith(_START)


def refuse_pointer(name: str, data: bytes) -> None:
    """Raises: ModelFileError: if the file `name` with these data was never fetched."""
    if is_pointer(data):
        raise ModelFileError(
            f"{name} is a Git LFS pointer, not the file itself",
            "fetch it: git lfs install && git lfs pull",
        )


def refuse_pointer_file(path: Path) -> None:
    """The same for a file on the disk; one that cannot be read is left to its reader."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LONGEST)
    except OSError:
        return
    refuse_pointer(path.name, data)
