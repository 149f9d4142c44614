"""A harness that is a program on this machine, started once per round.

It may crash, hang, print without end, write without end, leave others running or write nothing:
each ends its round, in bounded time and memory, and no more than that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import psutil

from care_mobile.bundle import Bundle
from care_mobile.errors import CareError, OutputError, UsageError
from care_mobile.processes import children
from care_mobile.requirements import Availability
from care_mobile.text import visible

from ..protocol.base import MAX_ROUND_BYTES
from ..protocol.events import Reading
from ..protocol.plan import Phase, Plan, Round, Unit
from ..protocol.reading import last_event
from ..protocol.record import DeviceReference, RecordKind, RoundStatus
from .station import Flight, Watch

HARNESS = "care_mobile.bench.harness"
"""The reference harness, as a module."""

_LOOK_SECONDS = 0.1
_LEAVE_SECONDS = 5.0
"""What a harness has to exit after its last line."""
_MARK = "CARE_MOBILE_LAUNCH"
_NOISE_BYTES = 4096
_PIECE = 65_536


@dataclass(frozen=True)
class Limits:
    """Of one launch: as a whole, without a sign of life in its file, and of that file."""

    seconds: float
    silent_seconds: float
    file_bytes: int = MAX_ROUND_BYTES

    @classmethod
    def of(cls, plan: Plan, planned: Round) -> Limits:
        """Generous: they end what hangs, not what is slow."""
        cells = len(planned.cells)
        burst_ns = 4 * plan.burst.target_ns + plan.burst.pause_ns
        paced_ns = plan.paced.interval_ns * plan.paced.count if plan.paced else 0
        silent_ns = plan.warmup.max_ns + cells * burst_ns
        whole_ns = cells * plan.warmup.max_ns
        whole_ns += len(planned.blocks) * (plan.gate.retries + 1) * cells * burst_ns
        if Phase.PACED in planned.phases:
            silent_ns += paced_ns
            whole_ns += cells * paced_ns
        if Phase.SUSTAINED in planned.phases and plan.sustained:
            whole_ns += cells * plan.sustained.duration_ns
        return cls(600 + 3e-9 * whole_ns + 120 * cells, 180 + 3e-9 * silent_ns)


class ProcessStation:
    """The files of a plan in a folder of their own, and a command that is started there."""

    def __init__(
        self, command: Sequence[str], folder: Path, plan: Plan, limits: Limits | None = None
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._plan = plan
        self._limits = limits

    def launch(self, planned: Round, launch: str, watch: Watch) -> Flight:
        file = self._folder / f"round-{planned.number}-{launch}.jsonl"
        arguments = ["--plan", str(self._folder / "plan.json"), "--round", str(planned.number)]
        arguments += ["--launch", launch, "--output", str(file)]
        with ExitStack() as stack:
            try:
                process, noise = stack.enter_context(running([*self._command, *arguments], launch))
            except CareError as error:  # it was there before the first round
                return Flight(RoundStatus.FAILED, None, "cannot-start", str(error))
            limits = self._limits or Limits.of(self._plan, planned)
            beyond = _wait(process, file, limits, watch)
            process.kill()
            said = noise.text()  # before its pipe is closed
            status = children.finish(process)
        if file.exists():
            watch(file)
        return _flight(file, status, beyond, said)

    def look(self) -> tuple[Reading, ...]:
        return ()

    def rest(self, time_ns: int) -> None:
        time.sleep(time_ns / 1e9)


def _wait(process: subprocess.Popen[bytes], file: Path, limits: Limits, watch: Watch) -> str | None:
    """Until the process ends, or the limit it went beyond."""
    started = grown = time.monotonic()
    size = -1
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            return None
        now = time.monotonic()
        found = file.stat().st_size if file.exists() else -1
        if found != size:
            size, grown = found, now
            if size > limits.file_bytes:
                return "too-large"
            watch(file)
        if now - started > limits.seconds:
            return "deadline"
        if now - grown > _LEAVE_SECONDS and last_event(file) == "end":
            return "never-exited"
        if now - grown > limits.silent_seconds:
            return "silent"


def _flight(file: Path, status: int, beyond: str | None, noise: str) -> Flight:
    written = file if file.exists() else None
    if beyond == "never-exited" or (beyond is None and last_event(file) == "end"):
        return Flight(RoundStatus.COMPLETED, written, beyond, exit_code=status)
    if beyond == "too-large":
        return Flight(RoundStatus.INVALID, written, beyond, "its file has no end", status)
    if beyond is not None:
        said = "it took too long" if beyond == "deadline" else "it wrote nothing for too long"
        return Flight(RoundStatus.TIMED_OUT, written, beyond, f"{said}{_told(noise)}", status)
    if status == 0:
        code = "no-file" if written is None else "no-end"
        said = "it exited well but wrote no " + ("file" if written is None else "end")
        return Flight(RoundStatus.INVALID, written, code, said + _told(noise), status)
    return Flight(RoundStatus.CRASHED, written, *_why(status, noise), status)


def _why(status: int, noise: str) -> tuple[str, str]:
    name = f"exit-{status}"
    if status < 0:
        with suppress(ValueError):
            name = signal.Signals(-status).name
    return name.lower(), f"{name}{_told(noise)}"


def _told(noise: str) -> str:
    lines = [line for line in noise.splitlines() if line.strip()]
    return f": {visible(lines[-1])[:300]}" if lines else ""


class _Noise:
    """What a program prints, read so that it never waits, of which the end is kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept: deque[bytes] = deque(maxlen=2)
        self._thread = threading.Thread(target=self._drain, args=(stream,), daemon=True)
        self._thread.start()

    def _drain(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := os.read(stream.fileno(), _PIECE):
                self._kept.append(piece[-_NOISE_BYTES:])

    def text(self) -> str:
        self._thread.join(1.0)
        return b"".join(self._kept)[-_NOISE_BYTES:].decode(errors="replace")


@contextmanager
def running(
    arguments: Sequence[str], launch: str
) -> Iterator[tuple[subprocess.Popen[bytes], _Noise]]:
    """A process whose noise is drained; in the end it is gone with all that it started."""
    environment = {**os.environ, _MARK: launch}
    process = children.start(
        arguments, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, environment=environment
    )
    assert process.stdout is not None
    noise = _Noise(process.stdout)
    try:
        yield process, noise
    finally:
        children.finish(process)
        for left in marked(launch):  # outside of its process group
            with suppress(psutil.Error):
                left.kill()


def marked(launch: str) -> Iterator[psutil.Process]:
    """What a launch started and what that started, as far as the system shows environments."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(_MARK) == launch:
                yield process


StationType = TypeVar("StationType", bound=ProcessStation)


@contextmanager
def opened(
    kind: type[StationType],
    command: Sequence[str],
    plan: Plan,
    files: Mapping[str, Path],
    limits: Limits | None = None,
) -> Iterator[StationType]:
    """A station in the scratch folder of this command.

    Raises:
        OutputError: if the files do not fit there.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            (folder / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")
            for path, source in files.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
        except OSError as error:
            raise OutputError(
                f"cannot bring the plan's files to a temporary folder: {error.strerror or error}",
                "free some space, or set TMPDIR to a folder that has more",
            ) from error
        yield kind(command, folder, plan, limits)


class ProcessDevice:
    """`process=COMMAND`: any program that keeps the protocol; the command is split as a shell
    splits words, and no shell sees it."""

    name = "process"
    kind = RecordKind.LATENCY
    reads = frozenset({"threads", "affinity", "unit"})

    def __init__(self, command: str) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise UsageError(
                f"process={command}: {error}", "write process='PROGRAM ARGUMENTS'"
            ) from error
        if not self._command:
            raise UsageError("a process needs its command", "write --device process=COMMAND")
        self.reference = DeviceReference(kind=self.name, serial=Path(self._command[0]).name[:255])

    def availability(self) -> Availability:
        found = shutil.which(self._command[0])
        if found is None:
            detail = f"there is no program {self._command[0]}"
            return Availability(False, detail, "give its path, and check that it can be executed")
        return Availability(True, found)

    def supports(self, bundle: Bundle) -> Availability:
        return Availability(True, "its harness tells")

    def engine(self, bundle: Bundle) -> str:
        return bundle.manifest.runtime

    def unit(self, bundle: Bundle) -> Unit:
        return Unit.CPU

    def check(self, plan: Plan) -> tuple[str, ...]:
        return ()

    @contextmanager
    def open(self, plan: Plan, files: Mapping[str, Path]) -> Iterator[ProcessStation]:
        with opened(ProcessStation, self._command, plan, files) as station:
            yield station
