"""One session: find bundles, plan, measure them on a device, keep the records."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from care_mobile.bundle import Bundle, check_output_folder, find_bundles
from care_mobile.errors import CareError, MissingDependencyError, OutputError, UsageError
from care_mobile.requirements import Availability
from care_mobile.runtimes import get_runtime
from care_mobile.selection import PassedOver

from .devices import Device, SessionStamp, get_device
from .plan import MAX_BLOCKS, MAX_ITERATIONS, BundleIdentity, BurstSize, MeasurementPlan, make_plan
from .record import Outcome, RunRecord, write_records
from .runner import Progress


class MeasurementError(CareError):
    """Bundles that could not be measured to the end."""

    exit_code = 5


@dataclass(frozen=True)
class SessionRequest:
    """What to measure and how. No `bundles` means all in `output`; no `iterations` as many per
    block as fit `BurstSize`.
    """

    bundles: tuple[Path, ...]
    output: Path
    records: Path
    device: str
    blocks: int
    iterations: int | None
    threads: int
    affinity: tuple[int, ...] | None
    seed: int
    given: frozenset[str] = frozenset()
    """Fields that somebody asked for, be it with the default value."""
    passed_over: tuple[PassedOver, ...] = ()
    """What was named beside the bundles and is none, for the result."""


@dataclass(frozen=True)
class Skipped:
    """A bundle the device cannot run, and why."""

    path: Path
    reason: Availability


@dataclass(frozen=True)
class SessionResult:
    """`records`, `files` (where they are) and `paths` (of the bundles) go together."""

    stamp: SessionStamp
    records: tuple[RunRecord, ...]
    files: tuple[Path, ...]
    paths: tuple[Path, ...]
    skipped: tuple[Skipped, ...]
    passed_over: tuple[PassedOver, ...] = ()

    def check(self) -> None:
        """Raises MeasurementError if a bundle was not measured to the end."""
        bad = [record for record in self.records if record.outcome is not Outcome.COMPLETED]
        if bad:
            raise MeasurementError(
                f"not measured to the end: {len(bad)} of {len(self.records)} bundles",
                "see the reasons in the result and in the records",
            )


def run_session(request: SessionRequest, progress: Callable[[Progress], None]) -> SessionResult:
    """Measure and keep the records.

    Raises:
        UsageError: if the request names what does not exist or cannot be.
        BundleError: if a bundle is broken.
        MissingDependencyError: if the device is not there, or can run none of the bundles.
        OutputError: if records cannot be written.
    """
    _check_counts(request)
    device = get_device(request.device)
    there = device.availability()
    if not there.usable:
        raise MissingDependencyError(f"{device.name}: {there.detail}", there.remedy)
    _check_device_reads(request, device)
    bundles, skipped = _usable(device, _find(request))
    _check_threads_read(request, device, [bundle for _, bundle in bundles])
    plan = _plan(request, [bundle for _, bundle in bundles])
    with _records_folder(request.records):
        try:
            device.prepare(plan, [bundle for _, bundle in bundles])
            stamp = _new_stamp()
            records = device.measure(stamp, progress)
        finally:
            device.close()
        files = write_records(request.records, records)
    return SessionResult(
        stamp=stamp,
        records=tuple(records),
        files=tuple(files),
        paths=tuple(path for path, _ in bundles),
        skipped=skipped,
        passed_over=request.passed_over,
    )


def _check_counts(request: SessionRequest) -> None:
    ranges = (
        ("--blocks", request.blocks, MAX_BLOCKS),
        ("--iterations", request.iterations, MAX_ITERATIONS),
        ("--threads", request.threads, None),
    )
    for option, value, highest in ranges:
        if value is not None and (value < 1 or (highest is not None and value > highest)):
            bound = "1 or more" if highest is None else f"1 to {highest}"
            raise UsageError(f"{option} {value} makes no sense", f"give {bound}")


def _check_device_reads(request: SessionRequest, device: Device) -> None:
    for field in ("threads", "affinity"):
        if field in request.given and field not in device.reads:
            raise UsageError(f"--{field} does nothing on the device {device.name}", "leave it out")


def _check_threads_read(request: SessionRequest, device: Device, bundles: Sequence[Bundle]) -> None:
    if "threads" not in request.given or "threads" not in device.reads:
        return
    runtimes = dict.fromkeys(bundle.manifest.runtime for bundle in bundles)
    if not any(get_runtime(name).takes_threads for name in runtimes):
        raise UsageError(
            f"--threads does nothing on {' and '.join(runtimes)}, which chooses by itself",
            "leave it out",
        )


def _find(request: SessionRequest) -> list[Path]:
    if request.bundles:
        missing = [path for path in request.bundles if not path.is_dir()]
        if missing:
            raise UsageError(f"there is no folder {missing[0]}", "name folders that hold bundles")
        return list(request.bundles)
    if not request.output.is_dir():
        raise UsageError(f"there is no folder {request.output}", "name bundles, or give --output")
    found = find_bundles(request.output)
    if not found:
        raise UsageError(f"no bundles in {request.output}", "make some with care-export")
    return found


def _usable(
    device: Device, paths: Sequence[Path]
) -> tuple[list[tuple[Path, Bundle]], tuple[Skipped, ...]]:
    """Opened bundles that the device can run, and those it cannot.

    Raises:
        MissingDependencyError: if it can run none.
    """
    usable, skipped = [], []
    for path in paths:
        # Absolute, so that `.` has a name too; symbolic links keep theirs.
        bundle = Bundle.open(Path(os.path.abspath(path)))
        found = device.supports(bundle)
        if found.usable:
            usable.append((path, bundle))
        else:
            skipped.append(Skipped(path, found))
    if skipped and not usable:
        first = skipped[0]
        raise MissingDependencyError(
            f"{first.path} cannot run on {device.name}: {first.reason.detail}",
            first.reason.remedy,
        )
    return usable, tuple(skipped)


def _plan(request: SessionRequest, bundles: Sequence[Bundle]) -> MeasurementPlan:
    return make_plan(
        [BundleIdentity(name=b.name, integrity=b.manifest.integrity) for b in bundles],
        blocks=request.blocks,
        burst=BurstSize.exactly(request.iterations) if request.iterations else BurstSize(),
        threads=request.threads,
        affinity=request.affinity,
        seed=request.seed,
    )


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
            with suppress(OSError):  # it holds the records
                folder.rmdir()


def _new_stamp() -> SessionStamp:
    started = datetime.now(timezone.utc)
    return SessionStamp(f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", started)
