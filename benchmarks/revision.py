"""Which state of the source was measured."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def revision() -> str | None:
    """The commit, None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
