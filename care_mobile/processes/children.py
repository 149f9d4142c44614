"""Processes that this one starts. They and all that they start end when it does, whatever ends it.

Each leads a session of its own, so that signals of the terminal reach this process alone, which
ends the others, and so that grandchildren can be ended with their parent.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ..errors import CareError
from . import janitor

_WATCH_SECONDS = 0.5

_lock = threading.Lock()
_running: set[int] = set()
_janitor: subprocess.Popen[bytes] | None = None
_folder: Path | None = None
_unfinished: set[Path] = set()

Stream = IO[Any] | int | None


def start(
    arguments: Sequence[str],
    *,
    stdin: Stream = subprocess.PIPE,
    stdout: Stream = subprocess.PIPE,
    stderr: Stream = subprocess.DEVNULL,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process; give it to `finish` in the end.

    Raises:
        CareError: if the system starts no more.
    """
    with _lock:
        _call_janitor()
        try:
            process = subprocess.Popen(
                list(arguments),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise CareError(
                f"cannot start a process: {error.strerror}", "end other programs, or free memory"
            ) from error
        _running.add(process.pid)
        _tell(b"+%d\n" % process.pid)
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and all that it started; returns its exit status.

    One that has ended by itself keeps its status.
    """
    with _lock:
        if process.pid in _running:
            janitor.kill_group(process.pid)
            _running.discard(process.pid)
            _tell(b"-%d\n" % process.pid)
    status = process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with suppress(OSError):
                stream.close()
    return status


def end_all() -> None:
    """Kill all that was started, remove the scratch folder and what is half written, without
    waiting for anything."""
    for group in tuple(_running):
        janitor.kill_group(group)
    for folder in (*_unfinished, _folder):
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def unfinished(folder: Path) -> Iterator[None]:
    """Have `end_all` remove `folder`, as long as the block lasts."""
    _unfinished.add(folder)
    try:
        yield
    finally:
        _unfinished.discard(folder)


def tidy(folder: Path) -> None:
    """Have the janitor remove `folder` if this process cannot."""
    global _folder  # noqa: PLW0603 - one per process
    _folder = folder


def dismiss_janitor() -> None:
    """Let it end, with what is left to end."""
    global _janitor, _folder
    with _lock:
        called, _janitor, _folder = _janitor, None, None
    if called is not None and called.stdin is not None:
        with suppress(OSError):
            called.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            called.wait(timeout=1.0)


def end_with_parent() -> None:
    """End this process and all that it started as soon as its parent is gone.

    For the processes of `start`; it looks twice a second, and is the second line after the
    janitor, which a computation that never lets Python run cannot hold up.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def _call_janitor() -> None:
    global _janitor  # noqa: PLW0603 - one per process
    if _janitor is not None and _janitor.poll() is None:
        return
    _janitor = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(janitor.__file__)), str(_folder or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/" if os.name == "posix" else None,
    )
    for group in tuple(_running):
        _tell(b"+%d\n" % group)


def _tell(line: bytes) -> None:
    if _janitor is not None and _janitor.stdin is not None:
        with suppress(OSError):  # it was killed: the next start calls another
            _janitor.stdin.write(line)
            _janitor.stdin.flush()
