"""The round's file: only this appends to it, a line at a time, and nothing else can reach it.

Its descriptor is a high one that no program started from here inherits. Descriptors 1 and 2 are
left to whatever a runtime prints; a copy of this process that a runtime forked writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from care_mobile.errors import OutputError, UsageError
from care_mobile.frozen import first_problem

from ..protocol.events import End, Event, Failed
from .room import Room
from .tools import UnsaidError

_HIGH = 200


class RoundWriter:
    """Appends events to a new file.

    Raises:
        UsageError: if there is a file already.
        OutputError: if it cannot be made; `emit` and `end` too, when it cannot be written.
    """

    def __init__(self, path: Path, since_ns: Callable[[], int], room: Room | None = None) -> None:
        self._path = path
        self._since_ns = since_ns
        self._room = room or Room()
        self._lines = 0
        self._process = os.getpid()
        try:
            self._file = _away(_created(path))
        except FileExistsError as error:
            raise UsageError(f"{path} exists", "a round goes into a new file") from error
        except OSError as error:
            raise self._unwritable(error) from error

    def emit(self, kind: type[Event], /, **fields: Any) -> None:
        """Append an event, with its number and the time.

        Raises:
            UnsaidError: if the protocol has no place for it, or the file no room.
        """
        if os.getpid() != self._process:
            os._exit(1)
        try:
            event = kind(n=self._lines, at_ns=self._since_ns(), **fields)
        except ValidationError as error:
            kinds = {problem["type"] for problem in error.errors()}
            code = "too-large" if "too_long" in kinds else "not-supported"
            raise UnsaidError(code, first_problem(error)) from error
        line = _line(event)
        self._room.take(line, closing=kind in (Failed, End))
        self._append(line)
        self._lines += 1

    def end(self) -> None:
        """Append the last line and close the file."""
        self.emit(End, events=self._lines)
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {error.strerror or error}")


def _line(event: Event) -> bytes:
    """`event` first, then the rest; what has no value is left out."""
    content = event.model_dump_json(exclude_none=True, exclude={"event"})
    word = type(event).model_fields["event"].default
    return f'{{"event":"{word}",{content[1:]}\n'.encode()


def _created(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags, 0o644)


def _away(low: int) -> int:
    """The same file at a high descriptor, where no runtime that closes or reuses low ones is."""
    if sys.platform == "win32":
        return low
    import fcntl

    try:
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    except OSError:  # the limit of open files is lower
        return low
    os.close(low)
    return high
