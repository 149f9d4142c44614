"""Checks of how a harness behaves from outside: what it refuses, and how it ends."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ..protocol.reading import last_event
from .cases import Case
from .findings import Findings
from .launches import LEAVE_SECONDS, Seen, Step, launch, size_of, snapshot, terminate

_EXISTING = b"yesterday's\n"


@dataclass
class Bench:
    """Starts the command; counts starts and those that ran beyond their deadline."""

    command: Sequence[str]
    deadline_s: float
    on_launch: Callable[[str], None]
    findings: Findings = field(default_factory=Findings)
    launches: int = 0
    hung: int = 0

    def start(
        self,
        case: Case,
        folder: Path,
        *,
        arguments: dict[str, str | None] | None = None,
        output: Path | None = None,
        step: Step = lambda process: None,
        deadline_s: float | None = None,
    ) -> tuple[Seen, str]:
        """Start it on a case that lies in `folder`; what was seen, and the launch's id.

        `arguments` are added, replace or, if None, leave out those of the protocol. `output` is in
        `folder` by default.
        """
        mark = f"{case.name}-{uuid.uuid4().hex[:8]}"
        file = output or folder / f"round-{case.round}.jsonl"
        given: dict[str, str | None] = {
            "--plan": str(folder / "plan.json"),
            "--round": str(case.round),
            "--launch": mark,
            "--output": str(file),
        }
        words = [
            word
            for name, value in (given | (arguments or {})).items()
            if value is not None
            for word in (name, value)
        ]
        self.on_launch(case.what)
        limit = deadline_s or self.deadline_s
        seen = launch(self.command, words, folder, file, mark, limit, step)
        self.launches += 1
        self.hung += seen.beyond is not None
        return seen, mark


@contextmanager
def laid_out(case: Case) -> Iterator[Path]:
    """The case's files in a folder whose name has a space, which is removed."""
    with tempfile.TemporaryDirectory(prefix="a plan-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        case.lay_out(folder)
        yield folder


def refusals(bench: Bench, case: Case) -> None:
    """What a harness must refuse before it creates a file. `case` is a good one."""
    with laid_out(case) as folder:
        file = folder / "plan.json"
        file.write_text(json.dumps(case.plan | {"protocol": 3}), encoding="utf-8")
        seen, _ = bench.start(case, folder)
        bench.findings.note("other-major", _refused(seen), "a plan of version 3")
    wrong: dict[str, dict[str, str | None]] = {
        "a round that the plan has not": {"--round": str(len(case.read.rounds))},
        "no --launch": {"--launch": None},
        "a launch that is no id": {"--launch": "../x"},
        "an argument that is not known": {"--no-such-argument": "x"},
    }
    for where, arguments in wrong.items():
        with laid_out(case) as folder:
            seen, _ = bench.start(case, folder, arguments=arguments)
            bench.findings.note("bad-arguments", _refused(seen), where)
    with laid_out(case) as folder:
        (folder / "plan.json").write_text('{"protocol": 2, "cells": [', encoding="utf-8")
        seen, _ = bench.start(case, folder)
        bench.findings.note("bad-arguments", _refused(seen), "a plan that is cut off")
    with laid_out(case) as folder:
        file = folder / f"round-{case.round}.jsonl"
        file.write_bytes(_EXISTING)
        seen, _ = bench.start(case, folder)
        kept = snapshot(folder).get(file.name) == sha256(_EXISTING).hexdigest()
        problem = None if kept else "the file was changed"
        bench.findings.note("existing-file", problem or _status(seen), "its output exists")


def elsewhere(bench: Bench, case: Case) -> None:
    """The output in another folder than the plan's, which cannot be written (but by root)."""
    with laid_out(case) as folder, tempfile.TemporaryDirectory(prefix="a round-") as name:
        output = Path(name) / "its file"
        folder.chmod(0o555)
        try:
            seen, _ = bench.start(case, folder, output=output)
        finally:
            with suppress(OSError):  # it may have removed it
                folder.chmod(0o755)
        problem = None
        if seen.changed:
            problem = f"it changed {', '.join(seen.changed)} in the plan's folder"
        elif seen.status != 0 or last_event(output) != "end":
            problem = f"the file is not finished, and {seen.ending()}"
        bench.findings.note("one-file", problem, "the output in another folder")


def _refused(seen: Seen) -> str | None:
    return "it wrote a file" if seen.file.exists() else _status(seen)


def _status(seen: Seen) -> str | None:
    return seen.ending() if seen.beyond or seen.status == 0 else None


class _Terminating:
    """Sends SIGTERM once a block is in the file, or after a while without one."""

    def __init__(self, file: Path, patience_s: float) -> None:
        self._file = file
        self._late = time.monotonic() + patience_s
        self.sent: float | None = None
        self.saw_block = False

    def __call__(self, process: subprocess.Popen[bytes]) -> str | None:
        if self.sent is not None:
            if time.monotonic() - self.sent > LEAVE_SECONDS:
                return f"it still ran {LEAVE_SECONDS:g} s after SIGTERM"
            return None
        self.saw_block = _holds_block(self._file)
        if self.saw_block or time.monotonic() > self._late:
            self.sent = time.monotonic()
            terminate(process)
        return None


def _holds_block(file: Path) -> bool:
    try:
        return size_of(file) > 0 and b'"block"' in file.read_bytes()
    except OSError:
        return False


def ended_early(bench: Bench, case: Case, patience_s: float) -> None:
    """End a harness by SIGTERM in a long round."""
    with laid_out(case) as folder:
        file = folder / f"round-{case.round}.jsonl"
        step = _Terminating(file, patience_s)
        seen, _ = bench.start(case, folder, step=step, deadline_s=patience_s + 2 * LEAVE_SECONDS)
        unseen = None if step.saw_block else f"no block was in the file after {patience_s:g} s"
        if step.sent is None:
            ended = f"it ended before: {seen.ending()}"
            bench.findings.note("terminated", ended, case.name)
            bench.findings.note("on-disk", None if step.saw_block else ended, case.name)
            return
        bench.findings.note("on-disk", unseen, case.name)
        problem = seen.beyond
        if problem is None and seen.status == 0:
            problem = "its exit status is 0"
        if problem is None and last_event(file) == "end":
            problem = "its file has an end"
        bench.findings.note("terminated", problem, case.name)
