"""Programs of every kind as harnesses, really started."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from care_mobile.bench.devices.process import Limits, ProcessDevice, ProcessStation, opened
from care_mobile.bench.devices.station import Flight
from care_mobile.bench.protocol.plan import Cell, Plan, Round
from care_mobile.bench.protocol.record import RoundStatus
from care_mobile.errors import UsageError
from test_bench.sessions import NOOP

PLAN = Plan(
    session="s",
    created="2026-11-26T12:00:00Z",
    cells=(Cell(id="a", label="a", bundle=NOOP, engine="noop"),),
    rounds=(Round(number=0, replicate=0, cells=(0,), blocks=((0,),)),),
)
PREAMBLE = """
import json, os, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
def line(**event):
    with open(given["--output"], "a") as stream:
        stream.write(json.dumps(event) + "\\n")
"""


def fly(body: str, limits: Limits | None = None, launch: str = "l-0") -> Flight:
    command = [sys.executable, "-c", PREAMBLE + body]
    with opened(ProcessStation, command, PLAN, {}, limits) as station:
        return station.launch(PLAN.rounds[0], launch, lambda file: None)


def test_a_file_with_an_end_is_a_whole_round() -> None:
    found = fly("line(event='end')")
    assert (found.status, found.exit_code) == (RoundStatus.COMPLETED, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("os.abort()", RoundStatus.CRASHED, "sigabrt"),
        ("sys.exit('it broke')", RoundStatus.CRASHED, "exit-1"),
        ("pass", RoundStatus.INVALID, "no-file"),
        ("line(event='hello')", RoundStatus.INVALID, "no-end"),
        (
            "open(given['--output'], 'w').write('{\"event\": \"end\"}')",
            RoundStatus.INVALID,
            "no-end",
        ),
    ],
    ids=["aborts", "exits", "no file", "no end", "no line end"],
)
def test_how_a_harness_ends_is_told(body: str, status: RoundStatus, code: str) -> None:
    found = fly(body)
    assert (found.status, found.code) == (status, code)


def test_what_a_harness_said_last_is_told() -> None:
    assert "it broke" in fly("print('x' * 10**6); sys.exit('it broke')").detail


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("time.sleep(600)", "silent"),
        ("while True: print('garbage' * 1000)", "silent"),
        ("while True: line(event='note'); time.sleep(0.01)", "deadline"),
        ("while True: line(event='x' * 10**5)", "too-large"),
    ],
    ids=["hangs", "prints", "writes on", "fills the disk"],
)
def test_a_harness_that_does_not_end_is_ended(body: str, code: str) -> None:
    limits = Limits(seconds=3.0, silent_seconds=1.5, file_bytes=10**6)
    found = fly(body, limits)
    assert found.code == code
    assert found.status is (RoundStatus.INVALID if code == "too-large" else RoundStatus.TIMED_OUT)


def test_one_that_never_exits_has_still_written_its_round() -> None:
    found = fly("line(event='end'); time.sleep(600)")
    assert (found.status, found.code) == (RoundStatus.COMPLETED, "never-exited")


def test_what_a_harness_leaves_running_is_ended(tmp_path: Path) -> None:
    left = tmp_path / "pid"
    fly(
        f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({str(left)!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists({str(left)!r}): time.sleep(0.01)
line(event='end')
""",
        launch="l-left",
    )
    pid = int(left.read_text())
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(pid)


def test_the_plan_and_its_files_are_there(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"model")
    body = """
from pathlib import Path
folder = Path(given["--plan"]).parent
assert (folder / "bundles/0/model").read_bytes() == b"model"
assert json.loads(Path(given["--plan"]).read_text())["session"] == "s"
assert given["--round"] == "0" and given["--launch"] == "l-0"
line(event='end')
"""
    command = [sys.executable, "-c", PREAMBLE + body]
    with opened(ProcessStation, command, PLAN, {"bundles/0/model": tmp_path / "model"}) as station:
        found = station.launch(PLAN.rounds[0], "l-0", lambda file: None)
    assert found.status is RoundStatus.COMPLETED, found.detail


def test_a_command_is_words_and_no_shell() -> None:
    assert not ProcessDevice("no-such-program; true").availability().usable
    assert ProcessDevice(f"{sys.executable} -c 'pass'").availability().usable
    for text in ("", "'unclosed"):
        with pytest.raises(UsageError):
            ProcessDevice(text)
