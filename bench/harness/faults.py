"""A harness that misbehaves on purpose, for real: signals, sleeps, children and broken files.

Everything here happens to the process or its file, never to the script's clock.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from .script import Fault

DISCONNECTED = 69
"""Exit status of a harness whose device went away; `devices/script.py` knows it."""
STORAGE_FULL = 74

_HUGE_BYTES = 2**31
_PIECE_BYTES = 2**20
_STALE = "launch-of-yesterday"


class Faults:
    """The faults of one round. The harness says where it is, and what it is about to write."""

    def __init__(self, faults: Sequence[Fault], output: Path) -> None:
        self._waiting = list(faults)
        self._output = output

    @property
    def launch(self) -> str | None:
        """The id to give instead of the launch's, if the file is to be stale."""
        return _STALE if any(f.kind == "stale" for f in self._waiting) else None

    def starts(self) -> None:
        """Before anything is written."""
        for fault in self._due(None, ("disconnect", "no-file")):
            if fault.kind == "disconnect":
                _exit(DISCONNECTED)
            _exit(0)

    def loads(self) -> None:
        """Before the first load."""
        self._strike(None)

    def begins(self, block: int) -> None:
        """Before the first inference of a block."""
        self._strike(block)

    def ends(self) -> None:
        """After the last line."""
        for _ in self._due(None, ("lingers",)):
            _hang()

    def _due(self, block: int | None, kinds: Sequence[str] | None = None) -> list[Fault]:
        """Faults that happen here, once each."""
        found = [
            f
            for f in self._waiting
            if f.block == block and (f.kind in kinds if kinds else f.kind not in _AT_THE_ENDS)
        ]
        self._waiting = [f for f in self._waiting if f not in found]
        return found

    def _strike(self, block: int | None) -> None:
        for fault in self._due(block):
            _ACTS[fault.kind](self._output)


def _exit(status: int) -> NoReturn:
    """At once, as a device that is gone says no more."""
    sys.stdout.flush()
    os._exit(status)


def _crash(output: Path) -> NoReturn:
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    os.abort()


def _hang(output: Path | None = None) -> NoReturn:
    while True:
        time.sleep(3600)


def _fork(output: Path) -> None:
    subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(86400)"])


def _chatter(output: Path) -> None:
    noise = b'\x00\xff\x1b[2J{"event":"end"}\n' * 4096
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        stream.buffer.write(noise)
        stream.buffer.write(b"a line that does not end" * 4096)
        stream.buffer.flush()


def _append(output: Path, content: bytes) -> None:
    with output.open("ab") as stream:
        stream.write(content)


def _storage_full(output: Path) -> NoReturn:
    _append(output, b'{"event":"block","n":')
    sys.stderr.write("No space left on device\n")
    _exit(STORAGE_FULL)


def _garbled(output: Path) -> None:
    _append(output, b'{"event":"note","n":\x80\x00 !!\n')


def _last_line(output: Path) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(output.read_bytes().splitlines()[-1])
    return line


def _duplicate(output: Path) -> None:
    _append(output, output.read_bytes().splitlines(keepends=True)[-1])


def _nan(output: Path) -> None:
    line = {**_last_line(output), "event": "note", "code": "nan"}
    line = {**line, "n": line["n"] + 1, "at_ns": float("nan")}
    _append(output, json.dumps(line).encode() + b"\n")


def _huge(output: Path) -> None:
    """Sparse, so that no disk has to hold it."""
    with output.open("r+b") as stream:
        stream.truncate(_HUGE_BYTES)


_AT_THE_ENDS = ("lingers", "stale", "no-file")
_ACTS: dict[str, Callable[[Path], None]] = {
    "crash": _crash,
    "hang": _hang,
    "disconnect": lambda output: _exit(DISCONNECTED),
    "storage-full": _storage_full,
    "garbled": _garbled,
    "duplicate": _duplicate,
    "forks": _fork,
    "chatter": _chatter,
    "huge": _huge,
    "nan": _nan,
}
