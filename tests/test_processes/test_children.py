from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from care_mobile.processes import children

PATIENCE_SECONDS = 20.0


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


# A parent with a child that never lets Python run, and a grandchild.
PARENT = """
import sys
from care_mobile.processes import children
from care_mobile.processes.scratch import scratch
CHILD = '''
import ctypes, subprocess, sys
held = subprocess.Popen(["sleep", "600"])
print(held.pid, flush=True)
ctypes.PyDLL(None).sleep(600)  # with the GIL held
'''
with scratch() as folder:
    child = children.start([sys.executable, "-c", CHILD])
    print(child.pid, int(child.stdout.readline()), folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_children_and_grandchildren_end_with_their_parent(
    number: signal.Signals, tmp_path: Path
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdout is not None
    child, grandchild, folder = parent.stdout.readline().split()
    parent.send_signal(number)
    parent.communicate()
    assert gone(int(child))
    assert gone(int(grandchild))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(folder).exists()


def test_a_process_that_is_finished_takes_what_it_started_with_it() -> None:
    source = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); input()"
    process = children.start([sys.executable, "-c", source])
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    assert children.finish(process) == -signal.SIGKILL
    assert gone(grandchild)
    assert process.pid not in children._running


def test_a_process_that_ended_keeps_its_status() -> None:
    process = children.start([sys.executable, "-c", "raise SystemExit(3)"])
    assert process.stdout is not None
    process.stdout.read()
    process.wait()
    assert children.finish(process) == 3


def test_a_killed_janitor_is_replaced_and_knows_all() -> None:
    source = "import sys; sys.stdin.read()"
    first = children.start([sys.executable, "-c", source])
    try:
        assert children._janitor is not None
        children._janitor.kill()
        children._janitor.wait()
        second = children.start([sys.executable, "-c", source])
        children.dismiss_janitor()  # as if this process ended
        assert gone(first.pid)
        assert gone(second.pid)
        children.finish(second)
    finally:
        children.finish(first)


ORPHAN = """
import subprocess, sys
source = "from care_mobile.processes.children import end_with_parent as e; import time; e(); " \\
    "print('ready', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", source], start_new_session=True,
    stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""


def test_a_child_sees_for_itself_that_its_parent_is_gone() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, check=True)
    assert gone(int(done.stdout))
