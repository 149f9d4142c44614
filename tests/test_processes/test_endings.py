from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from care_mobile.processes.endings import SIGNALS, endings
from care_mobile.processes.scratch import PREFIX


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_is_an_interrupt_with_its_own_code(number: signal.Signals) -> None:
    with endings() as ended:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert ended.exit_code(usual=130) == 128 + number
        signal.raise_signal(number)  # a second one does not disturb the cleaning up
        with pytest.raises(KeyboardInterrupt):
            ended.check()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_block_inside_another_is_the_same() -> None:
    with endings() as outer, endings() as inner:
        assert inner is outer
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            inner.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with endings() as ended:
            signal.raise_signal(number)
            ended.check()
    finally:
        signal.signal(number, before)


def test_without_a_signal_nothing_changes() -> None:
    with endings() as ended:
        ended.check()
        assert ended.exit_code(usual=130) == 130


COMMAND = """
import sys, time
from care_mobile.processes import endings
from care_mobile.terminal import in_scratch, run_command
endings.GRACE_SECONDS = 0.2

class Finalizer:
    def __del__(self):
        print("busy", flush=True)
        time.sleep(60)

@in_scratch
def command():
    {body}
run_command(command)
"""
SWALLOWED = "held = Finalizer(); del held; print('swallowed', flush=True); time.sleep(60)"
NATIVE = (
    "import ctypes; print('busy', flush=True); s = ctypes.CDLL(None).sleep; [s(60) for _ in 'abc']"
)
PLAIN = "print('busy', flush=True); time.sleep(60)"


@pytest.mark.parametrize("body", [PLAIN, SWALLOWED, NATIVE], ids=["plain", "swallowed", "native"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_ends_whatever_it_does_and_leaves_nothing(
    number: signal.Signals, body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said.endswith("interrupted; what was finished is intact\n")
    assert list(tmp_path.iterdir()) == []


WRITING = """from pathlib import Path; from care_mobile.bundle import writing
    with writing(Path({path!r})) as folder:
        (folder / "model").write_bytes(b"half"); """


def test_a_command_that_is_ended_by_force_leaves_nothing_half_written(tmp_path: Path) -> None:
    body = WRITING.format(path=str(tmp_path / "out" / "bundle")) + SWALLOWED
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        assert list((tmp_path / "out").iterdir()) != []
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    assert list((tmp_path / "out").iterdir()) == []
