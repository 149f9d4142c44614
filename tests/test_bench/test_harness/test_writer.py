"""Nothing but the writer reaches the round's file."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from care_mobile.bench.harness.writer import RoundWriter
from care_mobile.bench.protocol.events import Answer, Checked, Note
from care_mobile.errors import OutputError, UsageError

from .conftest import Bench, cell, kinds

NOISY = '''
import os, subprocess, sys
from care_mobile.bench.harness import engines, loading
from care_mobile.bench.harness.__main__ import main

class Noisy(engines._Noop):
    """Writes wherever it can, closes what is low, and leaves copies of the process behind."""
    left = 2  # while it warms up
    def bind(self, inputs):
        return self.infer
    def infer(self):
        for fd in (1, 2):
            os.write(fd, b'{"event":"end","n":3,"at_ns":0,"events":3}\\n')
        for fd in range(3, 32):
            try:
                os.write(fd, b"garbage")
            except OSError:
                pass
        self.left -= 1
        if self.left != 0:
            return
        if os.fork() == 0:
            if WAYS == "goes on":
                return
            os._exit(0)
        os.wait()
        subprocess.run([sys.executable, "-c", CHILD], close_fds=False)

CHILD = """
import os
for fd in range(3, 1000):
    try:
        os.write(fd, b"garbage")
    except OSError:
        pass
"""
WAYS = sys.argv.pop(1)
loading.ENGINES = {"noop": engines.EngineKind(lambda cell, folder: engines.Prepared(Noisy))}
raise SystemExit(main())
'''


@pytest.mark.parametrize("ways", ["goes on", "exits"])
def test_an_engine_that_writes_everywhere_and_forks(bench: Bench, ways: str) -> None:
    plan = bench.plan(cell())
    done = subprocess.run(
        [
            sys.executable, "-c", NOISY, ways,
            "--plan", "plan.json", "--round", "0", "--launch", "l-1", "--output", "round-0.jsonl",
        ],
        cwd=bench.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"event":"end"' in done.stdout
    found = bench.read(plan)
    assert found.ended
    assert kinds(found)[-3:] == ["block", "block", "end"]


def test_lines(tmp_path: Path) -> None:
    file = tmp_path / "round.jsonl"
    times = iter((5, 6, 7))
    writer = RoundWriter(file, lambda: next(times))
    writer.emit(Note, code="a-note", detail='in "quotes"\nand ünïcode\u2028')
    lines = file.read_bytes().splitlines()  # at once, not when it is closed
    assert [json.loads(line) for line in lines] == [
        {"event": "note", "n": 0, "at_ns": 5, "code": "a-note",
         "detail": 'in "quotes"\nand ünïcode\u2028'}
    ]  # fmt: skip
    assert lines[0].startswith(b'{"event":"note",')
    answer = Answer(name="x", dtype="uint8", shape=(0,), data="")
    writer.emit(Checked, cell=0, probe="p", answers=(answer,))
    writer.end()
    checked, end = map(json.loads, file.read_bytes().splitlines()[1:])
    assert checked["answers"] == [
        {"name": "x", "dtype": "uint8", "shape": [0], "stride": 1, "data": ""}
    ]
    assert end == {"event": "end", "n": 2, "at_ns": 7, "events": 2}


def test_a_file_that_exists(tmp_path: Path) -> None:
    file = tmp_path / "round.jsonl"
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists"):
        RoundWriter(file, lambda: 0)
    assert not (tmp_path / "elsewhere").exists()


def test_few_descriptors(tmp_path: Path) -> None:
    """Where the limit of open files is low, the file stays at a low descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))
    try:
        writer = RoundWriter(tmp_path / "round.jsonl", lambda: 0)
        writer.end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "round.jsonl").read_bytes().count(b"\n") == 1


def test_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RoundWriter(tmp_path / "round.jsonl", lambda: 0)

    def full(fd: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        writer.end()


def test_the_harness_where_storage_is_full(bench: Bench) -> None:
    """The system refuses a file above some size: one line, no `end`, not 0."""
    plan = bench.plan(cell())
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        "from care_mobile.bench.harness.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [
            sys.executable, "-B", "-c", limited,
            "--plan=plan.json", "--round=0", "--launch=l-1", "--output=round-0.jsonl",
        ],
        cwd=bench.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot write round-0.jsonl" in done.stderr
    found = bench.read(plan)
    assert not found.ended
    assert kinds(found)[:2] == ["hello", "control"]
