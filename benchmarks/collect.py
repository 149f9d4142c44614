"""Export, measure and sum up: the whole comparison on one screen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from care_mobile import bundle as bundles
from care_mobile.bench.harness.machine import describe_machine
from care_mobile.bench.validity import Severity, judge
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
from .measuring import (
    SEED,
    TARGETS,
    Amount,
    OnStep,
    Taken,
    latency,
    measure_bundles,
    samples_ns,
    taken,
    the_cpu,
    why_lost,
)
from .operators import operator_times
from .results import Comparison, Contest, Contestant, Role
from .revision import revision

PROFILED_RUNS = 20
PROFILED_RUNS_QUICK = 3


class CompareRequest(Frozen):
    """All that `compare` needs to know. `command` is what the document says was run."""

    models: tuple[str, ...]
    targets: tuple[str, ...] = TARGETS
    precisions: tuple[str, ...]
    launches: int
    blocks: int
    iterations: int
    quick: bool
    output: Path
    command: str


def compare(request: CompareRequest, on_step: OnStep = lambda what, share: None) -> Comparison:
    """Export and measure everything; bundles and records stay in the output folder.

    Raises:
        UsageError: for names that do not exist.
        CareError: if an fp32 bundle or a naive one cannot be made or measured.
    """
    started = time.monotonic()
    _check(request)
    bundles.check_output_folder(request.output)
    contests: list[Contest] = []
    total = len(request.models) * len(request.targets)
    for model in request.models:
        subject = Subject.load(model)
        for target in request.targets:
            base = len(contests)

            def step(what: str, share: float, base: int = base) -> None:
                on_step(what, (base + share) / total)

            contests.append(_contest(request, subject, target, step))
    return Comparison(
        command=request.command,
        revision=revision(),
        created=datetime.now(timezone.utc).replace(microsecond=0),
        seconds=round(time.monotonic() - started, 1),
        machine=describe_machine(),
        tools=tool_versions() | {"care-mobile": version("care-mobile") or "unknown"},
        cpu=the_cpu(),
        launches=request.launches,
        blocks=request.blocks,
        iterations=request.iterations,
        seed=SEED,
        quick=request.quick,
        precisions=request.precisions,
        contests=tuple(contests),
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


def _contest(request: CompareRequest, subject: Subject, target: str, on_step: OnStep) -> Contest:
    entries, failed = make_entries(
        subject,
        target,
        request.precisions,
        request.output / "bundles",
        lambda what, share: on_step(what, share / 2),
    )
    outcome = measure_bundles(
        [entry.path for entry in entries],
        request.output,
        Amount(request.launches, request.blocks, request.iterations, gated=not request.quick),
        lambda what, share: on_step(what, (1 + share) / 2),
    )
    on_step(f"{subject.name} {target}: operators", 1.0)
    runs = PROFILED_RUNS_QUICK if request.quick else PROFILED_RUNS
    done = taken(outcome)
    lost = sorted(set(range(len(entries))) - done.keys())
    if any(entries[i].precision == "fp32" for i in lost):
        outcome.check()
    ours = next(
        done[i]
        for i, entry in enumerate(entries)
        if entry.role is Role.OURS and entry.precision == "fp32"
    )
    with _pinned(the_cpu()):
        measured = [
            (_contestant(entries[i], found, ours, runs), found) for i, found in done.items()
        ]
    failed = [*failed, *(Failed(entries[i].path.name, why_lost(outcome.session, i)) for i in lost)]
    engine = next(
        own.loaded.engine for own in outcome.session.completed[0].cells.values() if own.loaded
    )
    return Contest(
        model=subject.name,
        target=target,
        runtime=engine.name,
        version=engine.version,
        session_id=outcome.session.opened.session,
        contestants=tuple(contestant for contestant, _ in measured),
        figures=figures(target, measured),
        failures=tuple(f"{f.name}: {f.reason}" for f in failed),
    )


def _contestant(entry: Entry, own: Taken, ours: Taken, runs: int) -> Contestant:
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
        latency=latency(own),
        to_ours=ratio(own, ours),
        samples_ns=samples_ns(own),
        operators=operator_times(bundle, runs) if bundle.manifest.target == "onnx" else (),
        warnings=tuple(
            found.detail
            for found in judge(own.session)
            if found.cell == own.cell and found.severity is not Severity.INFO
        ),
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
