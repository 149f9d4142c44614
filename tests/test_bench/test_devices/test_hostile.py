"""Programs that mean harm, as harnesses: rounds end typed and in bounded time, nothing is left."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

from care_mobile.bench.devices.process import Limits, ProcessStation, marked, opened
from care_mobile.bench.devices.station import Flight
from care_mobile.bench.protocol.plan import Burst
from care_mobile.bench.protocol.reading import ProtocolError, read_round
from care_mobile.bench.protocol.record import RoundStatus
from care_mobile.bench.session import _Tail

from ..test_harness.scripts import LAUNCH, make_plan, played

PLAN = make_plan(rounds=2, blocks=2, burst=Burst(min_iterations=2, max_iterations=2))
PREAMBLE = """
import json, os, shutil, signal, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
output, plan = given["--output"], given["--plan"]
whole = open(SOURCE, "rb").read()
def write(content, mode="ab"):
    with open(output, mode) as stream:
        stream.write(content)
"""
LIMITS = Limits(seconds=120.0, silent_seconds=60.0, file_bytes=10**7)
"""Of what ends by itself, on a busy machine."""
SHORT = Limits(seconds=10.0, silent_seconds=5.0, file_bytes=10**7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A round that keeps the protocol."""
    from care_mobile.bench.harness.script import Script

    folder = tmp_path_factory.mktemp("whole")
    played(folder, Script(), PLAN)
    return folder / "round-0.jsonl"


def program(body: str, whole: Path) -> list[str]:
    text = f"SOURCE = {str(whole)!r}\n{PREAMBLE}{body}"
    return [sys.executable, "-I", "-S", "-c", text]


def fly(body: str, whole: Path, limits: Limits = LIMITS) -> tuple[Flight, str | None]:
    """How a round went, and what the reader says of its file."""
    with opened(ProcessStation, program(body, whole), PLAN, {}, limits) as station:
        flight = station.launch(PLAN.rounds[0], LAUNCH, _Tail(lambda line: None))
        assert list(marked(LAUNCH)) == []
        return flight, verdict(flight)


def verdict(flight: Flight) -> str | None:
    """What is wrong with what was written: a code, or `unreadable`."""
    if flight.file is None:
        return None
    try:
        read_round(flight.file, PLAN, PLAN.rounds[0], LAUNCH)
    except ProtocolError as error:
        return error.code
    except OSError:
        return "unreadable"
    return None


def test_a_round_that_is_copied_whole_is_one(whole: Path) -> None:
    flight, wrong = fly("write(whole)", whole)
    assert (flight.status, wrong) == (RoundStatus.COMPLETED, None)


@pytest.mark.parametrize(
    ("body", "status", "code", "wrong"),
    [
        ("os.kill(os.getpid(), signal.SIGSTOP)", RoundStatus.TIMED_OUT, "silent", None),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwrite(whole[:900])\n"
            "os.closerange(0, 100)\nwhile True: pass",
            RoundStatus.TIMED_OUT,
            "silent",
            None,
        ),
        (
            "n = 0\nwhile True:\n n += 1; write(b'x' * (n * 7 % 997), 'wb'); time.sleep(0.01)",
            RoundStatus.TIMED_OUT,
            "deadline",
            None,
        ),
        ("os.mkfifo(output)", RoundStatus.INVALID, "no-end", "unreadable"),
        ("os.mkfifo(output); time.sleep(600)", RoundStatus.TIMED_OUT, "silent", "unreadable"),
        ("os.mkdir(output)", RoundStatus.INVALID, "no-end", "unreadable"),
        ("os.symlink('/dev/zero', output)", RoundStatus.INVALID, "no-end", "unreadable"),
        ("os.symlink(output, output)", RoundStatus.INVALID, "no-file", None),
        ("shutil.rmtree(os.path.dirname(plan))", RoundStatus.INVALID, "no-file", None),
        ("write(whole); os.kill(0, signal.SIGKILL)", RoundStatus.COMPLETED, None, None),
        ("write(whole * 2)", RoundStatus.COMPLETED, None, "after-end"),
        ("write(whole[:-20]); sys.exit(0)", RoundStatus.INVALID, "no-end", None),
    ],
    ids=[
        "stops itself",
        "deaf and busy",
        "its file grows and shrinks",
        "a pipe",
        "a pipe, and hangs",
        "a folder",
        "a device that never ends",
        "a link to itself",
        "removes everything",
        "kills its group",
        "its round twice",
        "cut in mid-line",
    ],
)
def test_whatever_it_does_its_round_ends_typed(
    whole: Path, body: str, status: RoundStatus, code: str | None, wrong: str | None
) -> None:
    flight, found = fly(body, whole, SHORT if status is RoundStatus.TIMED_OUT else LIMITS)
    assert (flight.status, flight.code, found) == (status, code, wrong)


def test_what_it_prints_moves_no_cursor(whole: Path) -> None:
    flight, _ = fly(r"os.write(1, b'\x1b[2J\x07 gone \xff\n'); sys.exit(3)", whole)
    assert flight.code == "exit-3"
    assert "gone" in flight.detail
    assert flight.detail.isprintable()


def test_children_write_no_more_once_it_has_ended(whole: Path) -> None:
    body = """
write(whole)
if os.fork() == 0:
    while True:
        write(b'{}\\n')
        time.sleep(0.01)
"""
    with opened(ProcessStation, program(body, whole), PLAN, {}, LIMITS) as station:
        flight = station.launch(PLAN.rounds[0], LAUNCH, lambda file: None)
        assert list(marked(LAUNCH)) == []
        assert flight.file is not None
        size = flight.file.stat().st_size
        time.sleep(0.3)
        assert flight.file.stat().st_size == size


def test_a_program_that_removes_itself_cannot_start_again(whole: Path, tmp_path: Path) -> None:
    file = tmp_path / "harness"
    text = f"SOURCE = {str(whole)!r}\n{PREAMBLE}write(whole)\nos.remove(sys.argv[0])\n"
    file.write_text(f"#!{sys.executable}\n{text}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    with opened(ProcessStation, [str(file)], PLAN, {}, LIMITS) as station:
        first = station.launch(PLAN.rounds[0], LAUNCH, lambda file: None)
        second = station.launch(PLAN.rounds[1], "launch-2", lambda file: None)
        assert verdict(first) is None  # it is still there, and whole
    assert (first.status, first.code) == (RoundStatus.COMPLETED, None)
    assert (second.status, second.code, second.file) == (RoundStatus.FAILED, "cannot-start", None)


def test_rounds_of_before_survive_what_comes_after(whole: Path) -> None:
    body = "write(whole) if given['--round'] == '0' else os.abort()"
    with opened(ProcessStation, program(body, whole), PLAN, {}, LIMITS) as station:
        first = station.launch(PLAN.rounds[0], LAUNCH, lambda file: None)
        second = station.launch(PLAN.rounds[1], "launch-2", lambda file: None)
        assert (verdict(first), second.status) == (None, RoundStatus.CRASHED)


def test_an_old_file_is_not_taken_for_this_launch(whole: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    first, *others = whole.read_text().splitlines(keepends=True)
    hello = json.loads(first)
    old.write_text(json.dumps({**hello, "launch": "launch-0"}) + "\n" + "".join(others))
    flight, wrong = fly("write(whole)", old)
    assert (flight.status, wrong) == (RoundStatus.COMPLETED, "stale")


def test_a_folder_that_it_took_away_is_no_error_at_the_end(whole: Path) -> None:
    with opened(ProcessStation, program("write(whole)", whole), PLAN, {}, LIMITS) as station:
        flight = station.launch(PLAN.rounds[0], LAUNCH, lambda file: None)
        assert flight.file is not None
        shutil.rmtree(flight.file.parent)
        again = station.launch(PLAN.rounds[1], "launch-2", lambda file: None)
    assert again.status in (RoundStatus.CRASHED, RoundStatus.INVALID)
