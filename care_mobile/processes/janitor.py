"""A process that outlives the command by a moment and ends what a kill would leave.

It reads process groups, `+PID` when one begins and `-PID` when it was ended, from a pipe that only
the command holds. When the pipe closes, whatever ended the command, it kills the groups that are
left and removes the scratch folder. The standard library alone, as it runs with `python -I -S`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress

_TRIES = 40
_PAUSE_SECONDS = 0.05


def main() -> None:
    """Serve until standard input ends; the argument is the scratch folder, or empty."""
    folder = sys.argv[1]
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        group = int(line[1:])
        groups.add(group) if line.startswith(b"+") else groups.discard(group)
    for group in groups:
        kill_group(group)
    for _ in range(_TRIES if folder else 0):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            break
        time.sleep(_PAUSE_SECONDS)  # a process that was killed may still be writing


def kill_group(group: int) -> None:
    """Kill all processes of a group; none may be left."""
    # Gone; on macOS a refusal means that only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
