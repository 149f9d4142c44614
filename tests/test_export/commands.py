"""Run the commands as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS), "COLUMNS": "140", "OMP_NUM_THREADS": "1"}


def command(name: str, *arguments: str) -> list[str]:
    """The console script beside this interpreter."""
    return [str(Path(sys.executable).with_name(name)), *arguments]


def run(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, *arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
