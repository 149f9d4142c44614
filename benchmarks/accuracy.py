"""What every precision costs and gains: size, latency, distance to the reference, and accuracy of
a trained network.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from care_mobile.bench.harness.machine import describe_machine
from care_mobile.bench.protocol.events import Machine
from care_mobile.bundle import check_output_folder
from care_mobile.errors import OutputError
from care_mobile.evaluation.evaluate import EvaluationRequest, evaluate
from care_mobile.evaluation.results import BundleAccuracy, EvaluationReport
from care_mobile.export.pipeline import export_bundles
from care_mobile.export.request import ExportRequest
from care_mobile.export.result import BundleResult
from care_mobile.export.targets import TARGETS, get_target
from care_mobile.frozen import Frozen
from care_mobile.inputs import Resolution
from care_mobile.requirements import tool_versions, version

from . import measuring
from .figures import ratio
from .measuring import Amount, OnStep, Taken, latency, measure_bundles, taken, the_cpu
from .results import Latency, Ratio

EXAMPLES = Path(__file__).parents[1] / "examples"
DIGITS = "digits.network:digits"
DIGITS_WEIGHTS = EXAMPLES / "digits" / "digits.safetensors"
DIGITS_SIDE = 64

LAUNCHES = 10
BLOCKS = 3
ITERATIONS = 10


class PrecisionRequest(Frozen):
    """All that `measure_precisions` needs to know.

    Attributes:
        random_models: networks without trained weights: everything but accuracy.
        targets: names of targets, each in all its precisions.
        launches: of all bundles of a network together, with `BLOCKS` interleaved blocks in each.
        limit: number of held-out images; all if None.
    """

    random_models: tuple[str, ...] = ("care_s0",)
    targets: tuple[str, ...] = tuple(target.name for target in TARGETS)
    limit: int | None = None
    launches: int = LAUNCHES
    output: Path
    command: str


class Case(Frozen):
    """One network in one precision of one target. No `psnr_db` where nothing was compared.

    Attributes:
        latency: on this machine, None where the runtime does not run on any.
        to_full: its latency in latencies of the same target's fp32 bundle.
    """

    model: str
    target: str
    precision: str
    status: str
    failure: str
    runtime: str
    size_bytes: int | None
    calibration: str
    psnr_db: dict[str, float]
    latency: Latency | None = None
    to_full: Ratio | None = None
    accuracy: BundleAccuracy | None = None


class Precisions(Frozen):
    """Everything one call found out on `images` held-out images, at most `limit`.

    `reference` is the bundle that accuracies are compared with; latencies are of one thread on
    `cpu`, in `launches` with `blocks` interleaved blocks each.
    """

    schema_version: Literal[2] = 2
    command: str
    created: AwareDatetime
    seconds: float
    tools: dict[str, str]
    machine: Machine
    cpu: int
    launches: int
    blocks: int
    limit: int | None
    images: int
    fingerprint: str
    reference: str | None
    cases: tuple[Case, ...]


def measure_precisions(
    request: PrecisionRequest, on_step: OnStep = lambda what, share: None
) -> Precisions:
    """Export every target in every precision, measure the latency of those that can run here, and
    evaluate the digits on the held-out images.

    Raises:
        CareError: if nothing can be exported or evaluated.
    """
    started = time.monotonic()
    check_output_folder(request.output)
    data = request.output / "digits-data"
    _write_digits(data)
    jobs = [
        _job(request, model, target.name, precision, data)
        for model in (DIGITS, *request.random_models)
        for target in TARGETS
        if target.name in request.targets
        for precision in target.precisions
    ]
    results: list[BundleResult] = []
    for done, job in enumerate(jobs):
        on_step(f"{job.models[0]} {job.targets[0]} {job.precisions[0]}", done / (len(jobs) + 1))
        results += export_bundles(job).bundles
    measured = _measure(request, results, lambda what: on_step(what, 0.98))
    report = _evaluate(request, results, data, lambda what: on_step(what, 0.99))
    accuracies = {bundle.name: bundle for bundle in report.bundles}
    full = {(r.model, r.target): measured.get(r.name) for r in results if r.precision == "fp32"}
    return Precisions(
        command=request.command,
        created=datetime.now(timezone.utc).replace(microsecond=0),
        seconds=round(time.monotonic() - started, 1),
        tools=tool_versions() | {"care-mobile": version("care-mobile") or "unknown"},
        machine=describe_machine(),
        cpu=the_cpu(),
        launches=request.launches,
        blocks=BLOCKS,
        limit=request.limit,
        images=report.dataset.images,
        fingerprint=report.dataset.fingerprint,
        reference=report.reference,
        cases=tuple(
            _case(
                result,
                measured.get(result.name),
                full.get((result.model, result.target)),
                accuracies.get(result.name),
            )
            for result in results
        ),
    )


def _write_digits(folder: Path) -> None:
    """The images as `digits.data` writes them, anew."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    from digits.data import write

    try:
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose another --output"
        ) from error


def _job(
    request: PrecisionRequest, model: str, target: str, precision: str, data: Path
) -> ExportRequest:
    common = ExportRequest(
        models=(model,),
        targets=(target,),
        precisions=(precision,),
        output=request.output / "bundles",
        # What a precision costs is told, not judged.
        keep_failed=True,
    )
    if model != DIGITS:
        return common
    calibrated = precision in get_target(target).calibrated
    own = {
        "weights": str(DIGITS_WEIGHTS),
        "in_channels": 1,
        "resolutions": (Resolution(width=DIGITS_SIDE, height=DIGITS_SIDE),),
        "calibration": data / "training" if calibrated else None,
    }
    return common.model_copy(update=own)


def _measure(
    request: PrecisionRequest, results: list[BundleResult], on_step: Callable[[str], None]
) -> dict[str, Taken]:
    """By name, the bundles that ran; a session per network."""
    found: dict[str, Taken] = {}
    for model in dict.fromkeys(result.model for result in results):
        paths = [
            r.path for r in results if r.model == model and r.target in measuring.TARGETS and r.path
        ]
        if paths:
            gated = request.limit is None
            amount = Amount(request.launches, BLOCKS, ITERATIONS, gated)
            outcome = measure_bundles(paths, request.output, amount, lambda what, _: on_step(what))
            found |= {each.name: each for each in taken(outcome).values()}
    return found


def _evaluate(
    request: PrecisionRequest,
    results: list[BundleResult],
    data: Path,
    on_step: Callable[[str], None],
) -> EvaluationReport:
    digits = [r for r in results if r.model == DIGITS and r.path is not None]
    full = [r for r in digits if r.precision == "fp32"]
    # Any would do, they are the same to 100 dB; ONNX Runtime is the fastest.
    reference = min(full, key=lambda r: r.target != "onnx").path if full else None
    return evaluate(
        EvaluationRequest(
            bundles=tuple(result.path for result in digits if result.path is not None),
            data=data / "held-out",
            reference=reference,
            limit=request.limit,
            output=request.output / "evaluation.json",
        ),
        lambda subject, done, total: on_step(f"{subject}: image {done} of {total}"),
    )


def _case(
    result: BundleResult,
    own: Taken | None,
    full: Taken | None,
    accuracy: BundleAccuracy | None,
) -> Case:
    parity = result.parity
    images = result.calibration
    return Case(
        model=result.model,
        target=result.target,
        precision=result.precision,
        status=result.status.value,
        failure=result.failure.message if result.failure else "",
        runtime=parity.runtime or "" if parity else "",
        size_bytes=result.size_bytes,
        calibration=f"{images.images} of {images.source}" if images else "",
        psnr_db={r.probes: r.psnr_db for r in parity.results} if parity else {},
        latency=latency(own) if own else None,
        to_full=ratio(own, full) if own and full else None,
        accuracy=accuracy,
    )
