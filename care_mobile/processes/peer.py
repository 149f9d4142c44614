"""A Python module in a process of its own that answers requests: JSON lines in, JSON lines out.

What crashes, hangs or devours memory there is an error here.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..errors import OutputError
from .children import end_with_parent, finish, start

_LOG_LINES = 3
_LOOK_SECONDS = 0.05
_IDLE_SECONDS = 1.0
_PIECE = 1 << 16


_RUN = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import runpy
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def module_command(module: str) -> list[str]:
    """As `python -m` does, but for the working directory on the path: whatever lies there is not
    ours."""
    return [sys.executable, "-c", _RUN, module]


class PeerDiedError(Exception):
    """The process ended, or had to be ended, before it answered; says why."""


class Limits(NamedTuple):
    """What one request may take; None for no limit."""

    seconds: float | None = None
    resident_bytes: int | None = None


class Peer:
    """The asking end; one request at a time, others wait."""

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = [*module_command(module), *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._lock = threading.Lock()
        try:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        except OSError as error:
            raise OutputError(
                f"cannot write temporary files: {error.strerror or error}",
                "free some space, or set TMPDIR to a folder that can be written",
            ) from error
        self._closed = False
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self._log.seek(0)
        self._log.truncate()
        return start(self._command, stderr=self._log, environment=self._environment)

    def ask(self, request: Mapping[str, Any], limits: Limits = Limits()) -> Any:  # noqa: B008
        """The answer. A process that died after an earlier request is started again.

        Raises:
            PeerDiedError: if it dies, or goes beyond a limit.
        """
        with self._lock:
            if self.process.poll() is not None and not self._closed:
                finish(self.process)
                self.process = self._start()
            assert self.process.stdin and self.process.stdout
            line, beyond = b"", ""
            with suppress(OSError, ValueError):
                self.process.stdin.write(json.dumps(request).encode() + b"\n")
                self.process.stdin.flush()
                line, beyond = self._read(limits)
            if not line:
                raise PeerDiedError(beyond or self._why())
        return json.loads(line)

    def close(self) -> None:
        """End the process, whatever it is doing; later requests fail."""
        self._closed = True
        finish(self.process)

    def _read(self, limits: Limits) -> tuple[bytes, str]:
        """The next line, or nothing and the limit it went beyond."""
        assert self.process.stdout is not None
        started, pieces = time.monotonic(), bytearray()
        watched = _IDLE_SECONDS if limits == Limits() else _LOOK_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                if selector.select(watched):
                    piece = os.read(self.process.stdout.fileno(), _PIECE)
                    pieces += piece
                    if not piece:
                        return b"", ""
                    if pieces.endswith(b"\n"):
                        return bytes(pieces), ""
                if self._closed:
                    return b"", ""
                beyond = _beyond(limits, time.monotonic() - started, self.process.pid)
                if beyond:
                    finish(self.process)
                    return b"", beyond

    def _why(self) -> str:
        status = None
        with suppress(subprocess.TimeoutExpired):
            status = self.process.wait(timeout=5.0)
        ended = "ended" if status is None else f"exit code {status}"
        if status is not None and status < 0:
            with suppress(ValueError):
                ended = signal.Signals(-status).name
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"{ended}: {' | '.join(lines[-_LOG_LINES:]) or 'it left no message'}"


def _beyond(limits: Limits, seconds: float, pid: int) -> str:
    if limits.seconds is not None and seconds > limits.seconds:
        return f"it took longer than {limits.seconds:g} s"
    if limits.resident_bytes is not None:
        import psutil

        with suppress(psutil.Error):
            if psutil.Process(pid).memory_info().rss > limits.resident_bytes:
                return f"it took more than {limits.resident_bytes / 2**30:.1f} GiB of memory"
    return ""


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]], prepare: Callable[[], None]) -> None:
    """The answering end: serve until standard input ends.

    Whatever else prints to standard output goes to the log. `prepare` runs before the first
    request is read.
    """
    from ..importing import expendable

    end_with_parent()
    expendable()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with suppress(KeyboardInterrupt):
        prepare()
        for line in sys.stdin:
            answers.write(json.dumps(answer(json.loads(line))) + "\n")
            answers.flush()
