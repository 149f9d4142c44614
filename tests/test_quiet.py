from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from care_mobile.quiet import quiet

CHATTER = """
import logging, os, subprocess, sys, warnings
from care_mobile.quiet import quiet

def chatter(mark):
    print("print", mark)
    sys.stderr.write(f"stderr {mark}\\n")
    os.write(1, f"native out {mark}\\n".encode())
    os.write(2, f"native err {mark}\\n".encode())
    subprocess.run(["echo", f"child {mark}"])
    logging.getLogger("tool").error("log %s", mark)
    warnings.warn(f"warning {mark}")

print("unflushed")
with quiet():
    chatter("inside")
    with quiet():
        chatter("nested")
    chatter("inside again")
print("after")
sys.stderr.write("after\\n")
"""


def test_nothing_gets_out_and_everything_comes_back(script: object) -> None:
    done = script(CHATTER)  # type: ignore[operator]
    assert (done.returncode, done.stdout, done.stderr) == (0, "unflushed\nafter\n", "after\n")


def test_an_error_passes_and_restores(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), quiet():  # noqa: PT012
        os.write(1, b"inside")
        raise KeyError
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_logging_and_warnings_are_as_before(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    logging.disable(logging.DEBUG)
    try:
        with quiet():
            logging.getLogger("tool").critical("inside")
            warnings.warn("inside", UserWarning, stacklevel=1)
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(logging.NOTSET)
    logging.getLogger("tool").error("after")
    assert caplog.messages == ["after"]
    assert not recwarn.list


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_no_descriptor_is_lost() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with quiet():
            sys.stdout.write("")
    assert len(os.listdir("/proc/self/fd")) == before
