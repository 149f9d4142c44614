"""From a request to a record: find bundles, plan, lock the device, measure, or go on measuring."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from care_mobile.bundle import Bundle, check_output_folder, find_bundles
from care_mobile.errors import (
    INTERRUPTED,
    CareError,
    MissingDependencyError,
    OutputError,
    RuntimeFailure,
    UsageError,
)
from care_mobile.requirements import Availability, tool_versions
from care_mobile.runtimes import get_runtime
from care_mobile.runtimes.trial import DiedError, Trials
from care_mobile.selection import PassedOver

from .checking import judge_of
from .devices import Device, get_device
from .devices.functional import SETTINGS as FUNCTIONAL
from .journal import Journal, new_journal, old_journal
from .locks import device_lock
from .planning import CellRequest, Planned, facts_of, make_plan
from .presets import Settings, get_preset
from .protocol.base import MAX_BLOCKS, MAX_CELLS, MAX_ITERATIONS, MAX_ROUNDS, MAX_THREADS
from .protocol.plan import Burst, Cell, Role, Unit
from .protocol.reading import read_session
from .protocol.record import RecordKind, Resumed, Session, SessionOpened
from .session import On, Running, new_session_id, now
from .validity import invalid, judge


class InterruptedSessionError(CareError):
    """The user stopped the session."""

    exit_code = INTERRUPTED


class MeasurementError(CareError):
    """A session that is no evidence for what was asked."""

    exit_code = 5


@dataclass(frozen=True)
class SessionRequest:
    """What to measure and how; what is None is the preset's. No `bundles` and no `bases` means
    all in `output`."""

    bundles: tuple[Path, ...] = ()
    bases: tuple[Path, ...] = ()
    output: Path = Path("bundles")
    records: Path = Path("records")
    device: str = "desktop"
    preset: str = "default"
    rounds: int | None = None
    blocks: int | None = None
    iterations: int | None = None
    single: bool = False
    gated: bool = True
    """Whether blocks are rejected in which the control kernel's time moves."""
    threads: tuple[int, ...] = (1,)
    units: tuple[Unit, ...] = ()
    engines: tuple[str, ...] = ()
    """Beside each bundle's own."""
    affinity: tuple[int, ...] | None = None
    seed: int = 0
    wait_seconds: float = 0.0
    given: frozenset[str] = frozenset()
    """Fields that somebody asked for, be it with the default value."""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A bundle the device cannot run, and why; or one that crashes what runs it."""

    path: Path
    reason: Availability
    crashes: bool = False


@dataclass(frozen=True)
class SessionOutcome:
    """A record, where it lies, and what was asked for and left out."""

    session: Session
    file: Path
    skipped: tuple[Skipped, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    interrupted: bool = False
    go_on: str = ""
    """The command that goes on with it."""

    def check(self) -> None:
        """Whether the result is what was asked for.

        Raises:
            InterruptedSessionError: if it was interrupted.
            MeasurementError: if nothing was measured, or what was is not valid.
        """
        completed, planned = len(self.session.completed), len(self.session.plan.rounds)
        if self.interrupted:
            raise InterruptedSessionError(
                f"interrupted: {completed} of {planned} rounds are in {self.file}",
                f"{self.go_on} goes on",
            )
        if not completed:
            lost = self.session.rounds[-1:] or self.session.earlier[-1:]
            why = f": {lost[0].detail or lost[0].code}" if lost else ""
            raise MeasurementError(f"no round was completed{why}", f"see {self.file}")
        findings = judge(self.session)
        cells = enumerate(self.session.plan.cells)
        bad = [cell.label for index, cell in cells if invalid(findings, index)]
        if bad:
            listed = ", ".join(bad[:3]) + ", ..." * (len(bad) > 3)
            raise MeasurementError(f"not valid: {listed}", "see the reasons in the result")
        for left in self.skipped:
            if left.crashes:
                raise MeasurementError(left.reason.detail, left.reason.remedy)


Waiting = Callable[[str], None]


def run_session(request: SessionRequest, on: On, waiting: Waiting) -> SessionOutcome:
    """Measure; what lands is on the disk at once.

    Args:
        on: told every line of the record.
        waiting: told who holds the device, while it is waited for.

    Raises:
        UsageError: if the request names what does not exist or cannot be.
        BundleError: if a bundle is broken.
        MissingDependencyError: if the device is not there, or can run none of the bundles.
        DeviceBusyError: if another session holds it.
        OutputError: if records cannot be written.
        InterruptedSessionError: if nothing had landed when it was stopped.
    """
    settings = _settings(request)
    device = _available(request.device)
    _check_device_reads(request, device)
    if device.kind is RecordKind.FUNCTIONAL:
        settings = _answers_alone(request, device)
    opened, skipped = _usable(device, _find(request))
    requests = _cells(request, device, opened)
    session = new_session_id()
    with _records_folder(request.records), tempfile.TemporaryDirectory() as scratch:
        planned = make_plan(
            requests,
            settings,
            session=session,
            created=now(),
            seed=request.seed,
            scratch=Path(scratch),
        )
        for refusal in device.check(planned.plan):
            raise UsageError(f"{device.name}: {refusal}", "ask for what it can do")
        header = SessionOpened(
            session=session,
            started=planned.plan.created,
            kind=device.kind,
            device=device.reference,
            tools=tool_versions(),
            plan=planned.plan,
        )
        with (
            device_lock(device.reference, session, request.wait_seconds, waiting),
            new_journal(request.records, header) as journal,
        ):
            on(header)
            numbers = range(len(planned.plan.rounds))
            interrupted = _run(device, planned, journal, on, numbers, completed=0)
    return SessionOutcome(
        session=read_session(journal.file),
        file=journal.file,
        skipped=skipped,
        passed_over=request.passed_over,
        interrupted=interrupted,
        go_on=_going_on(journal.file, request),
    )


def resume_session(file: Path, request: SessionRequest, on: On, waiting: Waiting) -> SessionOutcome:
    """Go on with a session that was cut off: the rounds that are not evidence yet.

    Raises:
        RecordError: if `file` is no record that can be gone on with.
        UsageError: if its bundles are not among the request's.
        CareError: as `run_session`.
    """
    before = read_session(file)
    device = _available(_device_text(request, before))
    if device.reference != before.opened.device or device.kind is not before.opened.kind:
        raise UsageError(
            f"{file} was measured on {before.opened.device.kind}, not on {device.name}",
            "give the --device it was measured on",
        )
    missing = before.missing()
    if not missing:
        return SessionOutcome(before, file)
    with tempfile.TemporaryDirectory() as scratch:
        planned = _again(before, request, Path(scratch))
        with (
            device_lock(device.reference, before.opened.session, request.wait_seconds, waiting),
            old_journal(file) as (journal, found),
        ):
            on(found.opened)
            resumed = Resumed(at=now(), tools=tool_versions())
            journal.append([resumed])
            on(resumed)
            missing = found.missing()
            done = len(found.completed)
            interrupted = _run(device, planned, journal, on, missing, completed=done)
    return SessionOutcome(
        read_session(file), file, interrupted=interrupted, go_on=_going_on(file, request)
    )


_LONG = 500


def _going_on(file: Path, request: SessionRequest) -> str:
    """As somebody would type it: a record says which bundles it is of, and not where they lie."""
    words = ["care-bench", "--resume", str(file)]
    if request.device != SessionRequest.device:
        words += ["--device", request.device]
    bundles = dict.fromkeys(str(path) for path in (*request.bases, *request.bundles))
    if not bundles and request.output != SessionRequest.output:
        words += ["--output", str(request.output)]
    named = [f"./{path}" if path[0] == "-" else path for path in bundles]
    if len(shlex.join(named)) > _LONG:
        return f"{shlex.join(words)} with the same bundles"
    return shlex.join((*words, *named))


def _run(
    device: Device,
    planned: Planned,
    journal: Journal,
    on: On,
    numbers: Sequence[int],
    *,
    completed: int,
) -> bool:
    """Whether it was interrupted; what landed is kept either way."""
    with ExitStack() as stack:
        try:
            station = stack.enter_context(device.open(planned.plan, planned.files))
            answers = judge_of(planned.plan, planned.requests)
            running = Running(planned.plan, station, journal, answers, on, completed)
        except BaseException:
            if not completed:
                journal.discard()
            raise
        try:
            reason = running.run(numbers)
        except KeyboardInterrupt:
            # What the journal holds counts: the interrupt may have come while a round landed.
            running.completed = len(read_session(journal.file).completed)
            if not running.completed:
                journal.discard()
                raise InterruptedSessionError("interrupted: nothing was recorded") from None
            running.close("interrupted")
            return True
        running.close(reason)
    return False


def _settings(request: SessionRequest) -> Settings:
    """The preset with what the request says otherwise."""
    _check_counts(request)
    settings = get_preset(request.preset)
    if request.rounds is not None:
        settings = replace(
            settings,
            rounds=request.rounds,
            paced_rounds=min(settings.paced_rounds, request.rounds),
            sustained_rounds=min(settings.sustained_rounds, request.rounds),
            cold_rounds=min(settings.cold_rounds, request.rounds - 1),
        )
    for option in ("blocks", "iterations", "single"):
        if option in request.given and not settings.blocks:
            raise UsageError(
                f"--{option} does nothing in the preset {settings.preset}, which has no bursts",
                "leave it out",
            )
    if request.blocks is not None:
        settings = replace(settings, blocks=request.blocks)
    changes: dict[str, object] = {"mode": "single"} if request.single else {}
    if request.iterations is not None:
        changes |= {"min_iterations": request.iterations, "max_iterations": request.iterations}
    burst = Burst(**{**settings.burst.model_dump(), **changes})
    gate = settings.gate
    if not request.gated:
        gate = gate.model_copy(update={"control_drift_permille": None})
    return replace(settings, burst=burst, gate=gate)


_OF_LATENCIES = {
    "preset": "preset",
    "rounds": "rounds",
    "blocks": "blocks",
    "iterations": "iterations",
    "single": "single",
    "gate": "no-gate",
    "gated": "no-gate",
    "engines": "also",
    "also": "also",
}
"""Options by what a request or the command line calls them."""


def _answers_alone(request: SessionRequest, device: Device) -> Settings:
    """Of a device that times nothing."""
    for name, option in _OF_LATENCIES.items():
        if name in request.given:
            raise UsageError(
                f"--{option} does nothing on the device {device.name}, which tells answers and no "
                "latency",
                "leave it out",
            )
    return FUNCTIONAL


def _check_counts(request: SessionRequest) -> None:
    ranges: list[tuple[str, int | None, int]] = [
        ("--rounds", request.rounds, MAX_ROUNDS),
        ("--blocks", request.blocks, MAX_BLOCKS),
        ("--iterations", request.iterations, MAX_ITERATIONS),
        *(("--threads", threads, MAX_THREADS) for threads in request.threads),
    ]
    for option, value, highest in ranges:
        if value is not None and not 1 <= value <= highest:
            raise UsageError(f"{option} {value} makes no sense", f"give 1 to {highest}")
    if not 0 <= request.seed < 2**62:
        raise UsageError(f"--seed {request.seed} makes no sense", "give a whole number from 0")


def _available(text: str) -> Device:
    device = get_device(text)
    there = device.availability()
    if not there.usable:
        raise MissingDependencyError(f"{device.name}: {there.detail}", there.remedy)
    return device


def _device_text(request: SessionRequest, before: Session) -> str:
    return request.device if "device" in request.given else before.opened.device.kind


def _check_device_reads(request: SessionRequest, device: Device) -> None:
    options = {"threads": "threads", "affinity": "affinity", "units": "unit"}
    for name, option in options.items():
        if name in request.given and option not in device.reads:
            raise UsageError(f"--{option} does nothing on the device {device.name}", "leave it out")


def _find(request: SessionRequest) -> list[tuple[Path, Role]]:
    if request.bundles or request.bases:
        paths = (*request.bases, *request.bundles)
        missing = [path for path in paths if not path.is_dir()]
        if missing:
            raise UsageError(f"there is no folder {missing[0]}", "name folders that hold bundles")
        head = Role.HEAD if request.bases else Role.NONE
        # A pattern that names the others names the base too.
        bases = {path.resolve() for path in request.bases}
        heads = [path for path in request.bundles if path.resolve() not in bases]
        return [(p, Role.BASE) for p in request.bases] + [(p, head) for p in heads]
    if not request.output.is_dir():
        raise UsageError(f"there is no folder {request.output}", "name bundles, or give --output")
    found = find_bundles(request.output)
    if not found:
        raise UsageError(f"no bundles in {request.output}", "make some with care-export")
    return [(path, Role.NONE) for path in found]


Opened = tuple[Path, Role, Bundle]


def _usable(
    device: Device, paths: Sequence[tuple[Path, Role]]
) -> tuple[list[Opened], tuple[Skipped, ...]]:
    """Opened bundles that the device can run, and those it cannot.

    Raises:
        MissingDependencyError: if it can run none.
    """
    usable: list[Opened] = []
    skipped = []
    with Trials() as trials:
        for path, role in paths:
            # Absolute, so that `.` has a name too; symbolic links keep theirs.
            bundle = Bundle.open(Path(os.path.abspath(path)))
            found = device.supports(bundle)
            crash = _crash(device, bundle, trials) if found.usable else None
            if crash is not None:
                skipped.append(Skipped(path, crash, crashes=True))
            elif found.usable:
                usable.append((path, role, bundle))
            else:
                skipped.append(Skipped(path, found))
    if skipped and not usable:
        first = skipped[0]
        raise MissingDependencyError(
            f"{first.path} cannot run on {device.name}: {first.reason.detail}",
            first.reason.remedy,
        )
    return usable, tuple(skipped)


def _crash(device: Device, bundle: Bundle, trials: Trials) -> Availability | None:
    """Why a bundle would take every round with it that it is in; None where nothing says so.

    What a runtime merely refuses is the harness's to tell.
    """
    if device.name != "desktop":
        return None
    try:
        trials.check(bundle, device.engine(bundle))
    except DiedError as error:
        return Availability(False, str(error), error.hint)
    except RuntimeFailure:
        pass
    return None


def _cells(
    request: SessionRequest, device: Device, opened: Sequence[Opened]
) -> tuple[CellRequest, ...]:
    _check_threads_read(request, device, [bundle for _, _, bundle in opened])
    cells = []
    for path, role, bundle in opened:
        engines = (device.engine(bundle), *request.engines)
        units = request.units or (device.unit(bundle),)
        for engine, unit, threads in product(engines, units, request.threads):
            cells.append(CellRequest(path, bundle, engine, unit, threads, request.affinity, role))
    if len(cells) > MAX_CELLS:
        raise UsageError(
            f"{len(cells)} things to measure in one session", f"choose at most {MAX_CELLS}"
        )
    return tuple(cells)


def _check_threads_read(request: SessionRequest, device: Device, bundles: Sequence[Bundle]) -> None:
    if "threads" not in request.given or device.name != "desktop":
        return
    runtimes = dict.fromkeys(bundle.manifest.runtime for bundle in bundles)
    if not request.engines and not any(get_runtime(name).takes_threads for name in runtimes):
        raise UsageError(
            f"--threads does nothing on {' and '.join(runtimes)}, which chooses by itself",
            "leave it out",
        )


def _again(before: Session, request: SessionRequest, scratch: Path) -> Planned:
    """The files of a plan that was made before, found among the request's bundles by content."""
    bundles = [(path, Bundle.open(Path(os.path.abspath(path)))) for path, _ in _find(request)]
    requests = tuple(_same(cell, bundles) for cell in before.plan.cells)
    fresh = make_plan(
        requests,
        get_preset("default"),
        session=before.plan.session,
        created=before.plan.created,
        seed=before.plan.seed,
        scratch=scratch,
    )
    if fresh.plan.files != before.plan.files:
        raise UsageError(
            "the bundles are not as they were when the session began: their probes or manifests "
            "differ",
            "measure anew",
        )
    return Planned(before.plan, fresh.files, requests)


def _same(cell: Cell, bundles: Sequence[tuple[Path, Bundle]]) -> CellRequest:
    """A cell's bundle, of the same name if several have its content."""
    alike = [
        (path, bundle)
        for path, bundle in bundles
        if bundle.manifest.content_sha256 == cell.bundle.content_sha256
    ]
    if not alike:
        raise UsageError(
            f"the bundle {cell.bundle.name} of the session is not among those given",
            "name the bundles that it was begun with",
        )
    path, bundle = next((a for a in alike if facts_of(a[1]) == cell.bundle), alike[0])
    return CellRequest(path, bundle, cell.engine, cell.unit, cell.threads, cell.cores, cell.role)


@contextmanager
def _records_folder(folder: Path) -> Iterator[None]:
    """Make sure before measuring that records can be written; leave no new empty folder.

    Raises:
        OutputError: if they cannot.
    """
    is_new = not folder.exists()
    try:
        check_output_folder(folder)
    except OutputError as error:
        raise OutputError(str(error), "choose another --records") from error
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it holds the record
                folder.rmdir()
