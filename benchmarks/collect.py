"""Export, measure and sum up: the whole comparison on one screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from care_mobile import bundle as bundles
from care_mobile.bench.devices.host import describe_host
from care_mobile.bench.record import Outcome, RunRecord
from care_mobile.bundle import Bundle
from care_mobile.errors import UsageError
from care_mobile.export.targets import get_target
from care_mobile.frozen import Frozen
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import ExecuTorchFacts
from care_mobile.models.catalog import check_name
from care_mobile.requirements import tool_versions, version

from .entries import Entry, Failed, Subject, make_entries
from .figures import figures, ratio
from .measuring import SEED, TARGETS, OnStep, latency, measure, the_cpu
from .operators import operator_times
from .results import Comparison, Contestant, Role, Round

PROFILED_RUNS = 20
PROFILED_RUNS_QUICK = 3


class CompareRequest(Frozen):
    """All that `compare` needs to know. `command` is what the document says was run."""

    models: tuple[str, ...]
    targets: tuple[str, ...] = TARGETS
    precisions: tuple[str, ...]
    blocks: int
    iterations: int
    quick: bool
    output: Path
    command: str


def compare(request: CompareRequest, on_step: OnStep = lambda what, share: None) -> Comparison:
    """Export and measure everything; bundles and run records stay in the output folder.

    Raises:
        UsageError: for names that do not exist.
        CareError: if an fp32 bundle or a naive one cannot be made or measured.
    """
    started = time.monotonic()
    _check(request)
    bundles.check_output_folder(request.output)
    rounds: list[Round] = []
    total = len(request.models) * len(request.targets)
    for model in request.models:
        subject = Subject.load(model)
        for target in request.targets:
            base = len(rounds)

            def step(what: str, share: float, base: int = base) -> None:
                on_step(what, (base + share) / total)

            rounds.append(_round(request, subject, target, step))
    return Comparison(
        command=request.command,
        revision=_revision(),
        created=datetime.now(timezone.utc).replace(microsecond=0),
        seconds=round(time.monotonic() - started, 1),
        machine=describe_host("desktop"),
        tools=tool_versions() | {"care-mobile": version("care-mobile") or "unknown"},
        cpu=the_cpu(),
        blocks=request.blocks,
        iterations=request.iterations,
        seed=SEED,
        quick=request.quick,
        precisions=request.precisions,
        rounds=tuple(rounds),
    )


def _check(request: CompareRequest) -> None:
    if "fp32" not in request.precisions:
        raise UsageError("every comparison is with fp32", "add fp32 to --precisions")
    known = {p for target in TARGETS for p in get_target(target).precisions} | {"int8"}
    unknown = [p for p in request.precisions if p not in known]
    if unknown:
        raise UsageError(
            f"no target has precision {unknown[0]}", f"known: {', '.join(sorted(known))}"
        )
    for model in request.models:
        check_name(model)


def _round(request: CompareRequest, subject: Subject, target: str, on_step: OnStep) -> Round:
    entries, failed = make_entries(
        subject,
        target,
        request.precisions,
        request.output / "bundles",
        lambda what, share: on_step(what, share / 2),
    )
    session = measure(
        [entry.path for entry in entries],
        request.output,
        request.blocks,
        request.iterations,
        lambda what, share: on_step(what, (1 + share) / 2),
    )
    on_step(f"{subject.name} {target}: operators", 1.0)
    runs = PROFILED_RUNS_QUICK if request.quick else PROFILED_RUNS
    done = {r.bundle_index for r in session.records if r.outcome is Outcome.COMPLETED}
    if any(entries[i].precision == "fp32" for i in set(range(len(entries))) - done):
        session.check()
    ours = next(
        session.records[i]
        for i, entry in enumerate(entries)
        if entry.role is Role.OURS and entry.precision == "fp32"
    )
    with _pinned(the_cpu()):
        measured = [
            (_contestant(entries[i], session.records[i], ours, runs), session.records[i])
            for i in sorted(done)
        ]
    lost = [Failed(r.bundle.name, r.reason) for r in session.records if r.bundle_index not in done]
    runtime = ours.environment.runtime
    return Round(
        model=subject.name,
        target=target,
        runtime=runtime.name,
        version=runtime.version,
        session_id=session.stamp.session_id,
        contestants=tuple(contestant for contestant, _ in measured),
        figures=figures(target, measured),
        failures=tuple(f"{f.name}: {f.reason}" for f in (*failed, *lost)),
    )


def _contestant(entry: Entry, record: RunRecord, ours: RunRecord, runs: int) -> Contestant:
    bundle = Bundle.open(entry.path)
    found = inspect(entry.path)
    facts = found.facts if isinstance(found.facts, ExecuTorchFacts) else None
    parity = bundle.manifest.parity
    seeded = parity.on("seeded")
    return Contestant(
        name=bundle.name,
        role=entry.role,
        summary=entry.summary,
        precision=entry.precision,
        size_bytes=bundle.size_bytes,
        export_seconds=entry.seconds,
        operations=found.operations,
        census=found.census,
        partitions=sum(d.partitions for d in facts.delegates) if facts else None,
        outside=facts.outside if facts else {},
        parity=parity.status,
        psnr_db=seeded.psnr_db if seeded else None,
        latency=latency(record),
        to_ours=ratio(record, ours),
        samples_ns=tuple(block.samples_ns for block in record.blocks),
        operators=operator_times(bundle, runs) if bundle.manifest.target == "onnx" else (),
        warnings=tuple(warning.detail for warning in record.warnings),
    )


@contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    """This process on one cpu, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _revision() -> str | None:
    """The commit, None outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
