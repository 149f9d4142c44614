"""Commands run as users run them, ended at any moment, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TESTS = Path(__file__).parents[1]
_MARK = "CARE_TEST_MARK"
_PATIENCE_SECONDS = 20.0
"""What a busy machine may need to end processes; the idle one needs a tenth of a second."""


@dataclass
class Killed:
    """A command with a temporary folder of its own; its processes carry a mark."""

    arguments: tuple[str, ...]
    cwd: Path
    temporary: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def start(self) -> subprocess.Popen[bytes]:
        self.temporary.mkdir(parents=True, exist_ok=True)
        name, *rest = self.arguments
        environment = {
            **os.environ,
            _MARK: self.mark,
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(TESTS),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(name)), *rest],
            cwd=self.cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, number: signal.Signals, after_seconds: float) -> tuple[int, str]:
        """Start, send a signal after so long, wait; returns the exit status and what it said."""
        process = self.start()
        try:
            out, err = process.communicate(timeout=after_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            out, err = process.communicate(timeout=_PATIENCE_SECONDS)
        return process.returncode, (out + err).decode(errors="replace")

    def finish(self) -> tuple[int, str]:
        out, err = self.start().communicate(timeout=300)
        return 0, (out + err).decode(errors="replace")

    def survivors(self) -> list[psutil.Process]:
        """Processes that carry the mark."""
        return [process for process in psutil.process_iter() if self._marked(process)]

    def outlived(self) -> list[list[str]]:
        """Command lines of what still runs after a moment's patience."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (left := self.survivors()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [process.cmdline() for process in left]

    def scratch(self) -> list[str]:
        """What lies in its temporary folder."""
        return sorted(path.name for path in self.temporary.iterdir())

    def _marked(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(_MARK) == self.mark
        except psutil.Error:
            return False
