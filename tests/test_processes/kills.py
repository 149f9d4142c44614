"""Commands run as users run them, ended at any moment, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
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
            stderr=subprocess.STDOUT,
        )

    def end_at(
        self, number: signal.Signals, reached: Callable[[], bool], after_seconds: float
    ) -> tuple[int, str]:
        """Start, wait until `reached`, and so much longer; then send a signal.

        Returns the exit status and what it said."""
        process = self.start()
        deadline = time.monotonic() + 300
        while process.poll() is None and not reached() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after_seconds)
        if process.poll() is None:
            process.send_signal(number)
        out, _ = process.communicate(timeout=_PATIENCE_SECONDS)
        return process.returncode, out.decode(errors="replace")

    def finish(self) -> tuple[int, str]:
        """Run to the end."""
        process = self.start()
        out, _ = process.communicate(timeout=300)
        return process.returncode, out.decode(errors="replace")

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
