"""A record while it is being written: what has landed is on the disk, whatever happens next."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from care_mobile.errors import OutputError

from .protocol.base import Contract
from .protocol.reading import MAX_RECORD_BYTES, RecordError, lines_of, read_session
from .protocol.record import Closed, Landed, Launched, Session, SessionOpened

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".jsonl"


def to_line(event: Contract) -> bytes:
    """An event as it is written: null is left out, but for a plan's, where it may say no to a
    default."""
    whole = isinstance(event, SessionOpened)
    return event.model_dump_json(exclude_none=not whole).encode() + b"\n"


class Journal:
    """An open journal; `append` is whole or absent."""

    def __init__(self, file: Path, handle: int) -> None:
        self.file = file
        self._handle = handle

    def append(self, events: Iterable[Contract]) -> None:
        """Add lines, and see them on the disk.

        Raises:
            OutputError: if the disk refuses; what was there stays.
        """
        content = b"".join(map(to_line, events))
        size = os.fstat(self._handle).st_size
        try:
            try:
                written = 0
                while written < len(content):
                    written += os.write(self._handle, content[written:])
            except BaseException:  # an interrupt too
                with suppress(OSError):
                    os.ftruncate(self._handle, size)
                raise
            os.fsync(self._handle)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._handle, size)
            raise OutputError(
                f"cannot write to {self.file}: {error.strerror}",
                f"free some space, then go on with --resume {self.file}",
            ) from error

    def discard(self) -> None:
        """Remove it: nothing was measured."""
        with suppress(OSError):
            self.file.unlink()


@contextmanager
def new_journal(folder: Path, opened: SessionOpened) -> Iterator[Journal]:
    """A journal of a new session.

    Raises:
        OutputError: if it cannot be written.
    """
    file = folder / f"{opened.session}{SUFFIX}"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        _hold(file, handle)
        journal = Journal(file, handle)
        journal.append([opened])
        yield journal
    finally:
        os.close(handle)


@contextmanager
def old_journal(file: Path) -> Iterator[tuple[Journal, Session]]:
    """A journal that was cut off or closed, to go on with; what did not land is cut away.

    Raises:
        RecordError: if it is no record of this format, or another session writes it.
        OutputError: if it cannot be written.
    """
    read_session(file)  # whole to its last line, before anything is changed
    try:
        handle = os.open(file, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        _hold(file, handle)
        os.ftruncate(handle, _sound_bytes(file))
        yield Journal(file, handle), read_session(file)
    finally:
        os.close(handle)


def _hold(file: Path, handle: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RecordError(f"{file} is being written by another session", "wait for it") from error
    except OSError:  # a file system without locks
        return


def _sound_bytes(file: Path) -> int:
    """How much of a journal counts: to its last line, but for a launch that did not land and for
    its being closed."""
    total = sound = 0
    launched = False
    for line, whole in lines_of(file, MAX_RECORD_BYTES):
        total += len(line) + 1
        if not whole:
            break
        launched = launched or _is(line, Launched)
        if _is(line, Landed):
            launched = False
        if not launched and not _is(line, Closed):
            sound = total
    return sound


def _is(line: bytes, kind: type[Contract]) -> bool:
    word = kind.model_fields["event"].default
    return line.startswith(f'{{"event":"{word}"'.encode())


def _unwritable(file: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {file}: {error.strerror}", "choose another --records")
