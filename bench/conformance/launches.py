"""One start of the harness that is examined, watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

from ..devices.process import marked, running

MAX_FILE_BYTES = 64 * 2**20
"""Of a golden plan's round; a harness that writes more is ended."""
_LOOK_SECONDS = 0.02
_LINGER_SECONDS = 0.5
"""What children have to follow their parent."""
LEAVE_SECONDS = 5.0


@dataclass(frozen=True)
class Seen:
    """What a launch looked like.

    Attributes:
        status: exit status; None if it had to be ended.
        elapsed_ns: from before its start to after its end.
        file: the output file, whether it exists or not.
        beyond: which limit it went beyond.
        left: programs that it left running.
        changed: files of the plan's folder that it added, changed or removed.
        said: the last line that it printed.
    """

    status: int | None
    elapsed_ns: int
    file: Path
    beyond: str | None
    left: tuple[str, ...]
    changed: tuple[str, ...]
    said: str

    def ending(self) -> str:
        """How it ended, in words."""
        said = f" (it said: {self.said})" if self.said else ""
        if self.beyond is not None:
            return f"it was ended: {self.beyond}{said}"
        return f"its exit status was {self.status}{said}"


Step = Callable[["subprocess.Popen[bytes]"], str | None]
"""Called again and again while it runs; a limit that it went beyond ends it."""


def launch(
    command: Sequence[str],
    arguments: Sequence[str],
    folder: Path,
    file: Path,
    mark: str,
    deadline_s: float,
    step: Step = lambda process: None,
) -> Seen:
    """Run `command` with `arguments` until it ends or goes beyond a limit.

    Args:
        folder: of the plan.
        file: of the round, there or elsewhere.

    Raises:
        CareError: if the system does not start it.
    """
    before = snapshot(folder)
    started = time.monotonic_ns()
    with running([*command, *arguments], mark) as (process, noise):
        beyond = _wait(process, file, started, deadline_s, step)
        elapsed = time.monotonic_ns() - started
        left = () if beyond else _left(mark)
        status = None if beyond else process.returncode
        process.kill()
        said = _last_line(noise.text())
    after = snapshot(folder)
    changed = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    return Seen(
        status=status,
        elapsed_ns=elapsed,
        file=file,
        beyond=beyond,
        left=left,
        changed=tuple(sorted(changed - {_inside(file, folder)})),
        said=said,
    )


def _inside(file: Path, folder: Path) -> str | None:
    return file.name if file.parent == folder else None


def _wait(
    process: subprocess.Popen[bytes], file: Path, started: int, deadline_s: float, step: Step
) -> str | None:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            return None
        if time.monotonic_ns() - started > deadline_s * 1e9:
            return f"it still ran after {deadline_s:g} s"
        if size_of(file) > MAX_FILE_BYTES:
            return f"its file grew beyond {MAX_FILE_BYTES >> 20} MiB"
        if (beyond := step(process)) is not None:
            return beyond


def _left(mark: str) -> tuple[str, ...]:
    """Names of marked processes that outlive the harness by more than a moment."""
    until = time.monotonic() + _LINGER_SECONDS
    while found := [p for p in marked(mark) if _alive(p)]:
        if time.monotonic() > until:
            return tuple(_name(process) for process in found)
        time.sleep(_LOOK_SECONDS)
    return ()


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return str(process.pid)


def size_of(file: Path) -> int:
    """Its bytes; -1 where there is no regular file."""
    try:
        return file.stat().st_size if file.is_file() else -1
    except OSError:
        return -1


def snapshot(folder: Path) -> Mapping[str, str]:
    """What lies in a folder by path: hashes of files, kinds of other things, size of what is large.

    A harness may have left anything there, and may be at it still.
    """
    return {path.relative_to(folder).as_posix(): _state(path) for path in folder.rglob("*")}


def _state(path: Path) -> str:
    try:
        if path.is_symlink() or not path.is_file() or size_of(path) > MAX_FILE_BYTES:
            found = path.lstat()
            return f"{found.st_mode} {0 if path.is_dir() else found.st_size}"
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def terminate(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process and all of its group."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)
