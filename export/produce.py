"""One bundle: lower, write, verify, and only then let it appear."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from care_mobile import bundle as bundles
from care_mobile.agreement import MAX_DB
from care_mobile.bundle import Bundle, Manifest, Parity
from care_mobile.errors import CareError, MissingDependencyError, ParityError, TargetError
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Resolution
from care_mobile.requirements import tool_versions
from care_mobile.runtimes import get_runtime

from .capture import input_spec
from .checks import check_nothing_there
from .network import CapturedNetwork
from .overflow import located, out_of_range, way_out
from .parity import THRESHOLDS, Arrays, compare
from .quantize.precision import HALF, is_quantized
from .replaced import compare as compare_manifests
from .replaced import earlier
from .request import ExportRequest, Order
from .result import BundleResult, Failure, LayerDamage, Status
from .stored_probes import Stored, as_reached, store
from .targets import Lowered, LowerJob
from .worker import Worker

_PER_FAILED_SET = 2
"""Inputs of a probe set that failed which are looked into."""

_FIRST_KEPT = 4
"""Layers kept in float at the first try after none; doubled until the PSNR is there."""


def produce(
    request: ExportRequest,
    network: CapturedNetwork,
    order: Order,
    worker: Worker,
    on_step: Callable[[str], None],
) -> BundleResult:
    """Make one bundle of `network`; never raises a CareError, the result carries it."""
    started = time.monotonic()
    resolution = network.preprocessing.resolution
    name = request.bundle_name(network.result.model, order, resolution)
    path = request.output / name
    failure, made, kept = None, None, False
    before = earlier(path)
    try:
        with bundles.writing(path) as folder:
            made = _make(request, network, order, worker, folder, on_step)
            manifest = made.manifest
            failed = [parity for parity in manifest.parities if parity.status == "failed"]
            if failed and not request.keep_failed:
                raise ParityError(*_describe(name, failed[0], made.half_precision))
            if request.no_overwrite:  # another export may have made it meanwhile
                check_nothing_there([path])
        kept = True
        if failed:
            failure = Failure.of(ParityError(*_describe(name, failed[0], made.half_precision)))
    except CareError as error:
        failure = Failure.of(error)
    except Exception as error:  # a defect of ours must not lose the other targets either
        failure = Failure.of(TargetError(f"{name}: {type(error).__name__}: {error}"))
    status = _status(made.manifest if made else None, failure)
    on_step(status.value)
    result = BundleResult(
        name=name,
        model=network.result.model,
        target=order.target.name,
        precision=order.precision,
        resolution=resolution,
        status=status,
        path=path if kept else None,
        failure=failure,
        replaced=compare_manifests(before, made.manifest) if before and made and kept else None,
        earlier_kept=before is not None and not kept,
        seconds=round(time.monotonic() - started, 2),
    )
    return result.model_copy(update=made.told() if made else {})


def refusal(
    request: ExportRequest, model: str, resolution: Resolution, order: Order, error: CareError
) -> BundleResult:
    """The result of a bundle that was not tried, since its network failed."""
    return BundleResult(
        name=request.bundle_name(model, order, resolution),
        model=model,
        target=order.target.name,
        precision=order.precision,
        resolution=resolution,
        status=Status.FAILED,
        failure=Failure.of(error),
        seconds=0.0,
    )


@dataclass(frozen=True)
class _Made:
    """A bundle's manifest, parity included, and what its precision costs: integers per layer, half
    precision as it was before anything was kept in fp32."""

    manifest: Manifest
    sensitivity: tuple[LayerDamage, ...]
    half_precision: HalfPrecision | None

    def told(self) -> dict[str, Any]:
        """Fields of a `BundleResult`."""
        shared = (
            "size_bytes",
            "rewrites",
            "census",
            "parity",
            "other_parity",
            "forecast",
            "calibration",
            "accuracy",
            "kept_float",
            "content_sha256",
            "probes_left_out",
        )
        told = {name: getattr(self.manifest, name) for name in shared}
        return told | {"sensitivity": self.sensitivity, "half_precision": self.half_precision}


def _make(
    request: ExportRequest,
    network: CapturedNetwork,
    order: Order,
    worker: Worker,
    folder: Path,
    on_step: Callable[[str], None],
) -> _Made:
    """Lower and verify; again with more layers in float until the PSNR asked for is there.

    Raises:
        ParityError: if it cannot be reached.
    """
    job = _job(request, network, order)
    program = network.programs[order.variant]
    sensitivity = _sensitivity(request, network, order, worker, on_step)
    ranking = tuple(damage.node for damage in sensitivity)
    half = order.precision == HALF
    cost: HalfPrecision | None = None
    count = 0 if half else request.keep_float
    while True:
        job = job.model_copy(update={"keep_float": ranking[:count]})
        bundles.clear(folder)
        on_step("lowering" if count == 0 else f"lowering, {count} layers in float")
        lowered = worker.lower(program, job, folder)
        stored = _store(network, order, lowered, folder)
        manifest = _manifest(network, order, job, lowered, folder, stored)
        manifest = bundles.write_manifest(folder, manifest)
        on_step("verifying")
        manifest = _verify(network, order, worker, folder, manifest)
        manifest = _measure(request, network, order, worker, folder, manifest, on_step)
        missing = _missing(request, manifest) if order.keeps_float else None
        if half and cost is None and (request.ranks() or _failed(manifest)):
            on_step("explaining fp16")
            cost = _half_precision(network, worker, folder, manifest, lowered)
            ranking = cost.ranking
            count = min(request.keep_float, len(ranking))
            if count:
                continue
        if missing is None:
            return _Made(manifest, sensitivity, cost)
        if count >= len(ranking):
            raise ParityError(
                f"{job.model} for {order.target.name}: {job.precision} {missing}, even with all "
                f"{count} layers in float",
                "ask for less, or export in a wider precision",
            )
        advised = cost.keep if cost else 0
        count = min(len(ranking), advised if advised > count else max(_FIRST_KEPT, 2 * count))


def _missing(request: ExportRequest, manifest: Manifest) -> str | None:
    """What a bundle lacks of what was asked for; None if it has all.

    Raises:
        MissingDependencyError: if that cannot be found out on this machine.
    """
    limits = (request.min_psnr_db, request.max_drop_points)
    if limits != (None, None) and manifest.parity.status == "unverified":
        option = "--min-psnr" if request.min_psnr_db is not None else "--max-drop"
        raise MissingDependencyError(
            f"{option} cannot be judged: {manifest.parity.runtime} {manifest.parity.reason}",
            f"export where it runs, or leave {option} out",
        )
    if manifest.precision == HALF and limits != (None, None) and _failed(manifest):
        return "fails parity"
    seeded = [parity.on("seeded") for parity in manifest.parities]
    reached = min((result.psnr_db for result in seeded if result), default=-MAX_DB)
    if request.min_psnr_db is not None and reached < request.min_psnr_db:
        return f"reaches {reached:.1f} dB, not --min-psnr {request.min_psnr_db:g}"
    accuracy, allowed = manifest.accuracy, request.max_drop_points
    if accuracy is not None and allowed is not None:
        # In whole images: as shares, 0.99 - 0.98 is more than a point.
        right, wanted = (
            round(share * accuracy.images) for share in (accuracy.top1, accuracy.reference_top1)
        )
        drop = 100 * (wanted - right) / accuracy.images
        if drop > allowed:
            return f"loses {drop:.2f} points on {accuracy.data}, more than --max-drop {allowed:g}"
    return None


def _measure(
    request: ExportRequest,
    network: CapturedNetwork,
    order: Order,
    worker: Worker,
    folder: Path,
    manifest: Manifest,
    on_step: Callable[[str], None],
) -> Manifest:
    """Measure the accuracy where labelled images are given, on the runtime that verified."""
    labelled = network.labelled
    if labelled is None or manifest.parity.status == "unverified":
        return manifest
    on_step(f"answering {len(labelled.truth)} labelled images")
    verifier = manifest.parity.runtime or order.target.runtime
    answers = worker.answers(folder, verifier, labelled.dataset, request.data_limit)
    update = {"accuracy": labelled.judge(answers)}
    return bundles.write_manifest(folder, manifest.model_copy(update=update))


def _sensitivity(
    request: ExportRequest,
    network: CapturedNetwork,
    order: Order,
    worker: Worker,
    on_step: Callable[[str], None],
) -> tuple[LayerDamage, ...]:
    """Ranked where somebody asks for it; it takes seconds."""
    quantized = is_quantized(order.precision)
    if not quantized or not request.ranks() or network.calibration_file is None:
        return ()
    on_step("ranking layers by what 8-bit integers do to them")
    return worker.rank(network.programs[order.variant], network.calibration_file)


def _job(request: ExportRequest, network: CapturedNetwork, order: Order) -> LowerJob:
    options = request.options
    variant = order.variant
    image = order.target.name == "coreml" and options.image_input
    precision = order.precision
    return LowerJob(
        model=network.result.model,
        precision=precision,
        inputs=(input_spec(network.preprocessing, variant, image),),
        outputs=network.outputs[variant],
        preprocessing=network.preprocessing,
        weights=network.weights.source,
        options=options,
        calibration=network.calibration_file if order.calibrated else None,
    )


def _store(network: CapturedNetwork, order: Order, lowered: Lowered, folder: Path) -> Stored:
    return store(
        folder,
        lowered.inputs,
        [spec for spec in lowered.outputs if spec.kind != "string"],
        {name: [stack] for name, stack in network.probes.items()},
        network.reference_for(order.variant),
        THRESHOLDS[order.target.name, order.precision],
    )


def _manifest(
    network: CapturedNetwork,
    order: Order,
    job: LowerJob,
    lowered: Lowered,
    folder: Path,
    stored: Stored,
) -> Manifest:
    ranked = bool(job.keep_float) and is_quantized(job.precision)
    return Manifest(
        model=job.model,
        parameters=network.result.parameters,
        macs=network.result.macs,
        weights=network.weights,
        inputs=lowered.inputs,
        outputs=lowered.outputs,
        preprocessing=job.preprocessing,
        labels=job.options.labels,
        target=order.target.name,
        precision=job.precision,
        runtime=order.target.runtime,
        options=order.target.options_used(job.options),
        passes=network.passes_for(order.label),
        rewrites=lowered.rewrites,
        census=lowered.census,
        tools=tool_versions(),
        parity=Parity(status="unverified", reason="not checked yet"),
        forecast=lowered.forecast,
        calibration=network.calibration if order.calibrated or ranked else None,
        kept_float=job.keep_float,
        probes=stored.probes,
        probes_left_out=stored.left_out,
        model_file=lowered.model_file,
        files=bundles.list_files(folder),
        created=datetime.now(timezone.utc).replace(microsecond=0),
    )


def _verify(
    network: CapturedNetwork,
    order: Order,
    worker: Worker,
    folder: Path,
    manifest: Manifest,
) -> Manifest:
    variant = order.variant
    parities = []
    answered: list[dict[str, Arrays]] = []
    strict = order.target.strict_verifiers.get(order.precision, ())
    for verifier in (*order.target.verifiers, *strict):
        found = get_runtime(verifier).availability()
        if not found.usable:
            reason = f"was not run on this machine: {found.detail}"
            parities.append(Parity(status="unverified", runtime=verifier, reason=reason))
            continue
        with tempfile.TemporaryDirectory(prefix="care-parity-") as scratch:
            outputs = worker.run(folder, verifier, network.probes, Path(scratch))
        parities.append(
            compare(
                network.reference_for(variant),
                outputs,
                order.target.name,
                manifest.precision,
                verifier,
                moved=partial(network.moved_for, variant),
                notes=network.truth.notes,
                left_out=network.truth.left_out,
            )
        )
        if parities[-1].status == "verified":
            answered.append(outputs)
    probes, bundle = manifest.probes, Bundle(folder, manifest)
    for outputs in answered:
        probes = as_reached(bundle, probes, outputs)
    update = {"parity": parities[0], "other_parity": tuple(parities[1:]), "probes": probes}
    return bundles.write_manifest(folder, manifest.model_copy(update=update))


def _half_precision(
    network: CapturedNetwork, worker: Worker, folder: Path, manifest: Manifest, lowered: Lowered
) -> HalfPrecision:
    """On the first photo, the most ordinary input there is, and on what failed."""
    failed = {r.probes for p in manifest.parities for r in p.results if not r.passed}
    telling = [network.probes["photos"][:1]]
    telling += [network.probes[name][:_PER_FAILED_SET] for name in sorted(failed)]
    with tempfile.TemporaryDirectory(prefix="care-explain-") as scratch:
        cost = worker.explain(folder, np.concatenate(telling), Path(scratch))
    return cost.model_copy(update={"places": located(cost, lowered.places)})


def _failed(manifest: Manifest) -> bool:
    return any(parity.status == "failed" for parity in manifest.parities)


def _describe(name: str, parity: Parity, cost: HalfPrecision | None) -> tuple[str, str]:
    worst = min((r for r in parity.results if not r.passed), key=lambda r: r.psnr_db)
    said = f": {worst.note}" if worst.note else ""
    what = f"is {worst.psnr_db:.1f} dB, max abs {worst.max_abs:.1e}{said}"
    limits = ", ".join(f"{key} {value:g}" for key, value in parity.thresholds.items())
    left = out_of_range(cost) if cost else None
    return (
        f"{name} differs from the reference on {parity.runtime}: probe set {worst.probes} "
        f"{what if worst.finite else worst.note}{f': {left}' if left else f' (limits: {limits})'}",
        way_out(cost) if cost else "--keep-failed keeps the bundle for inspection",
    )


def _status(manifest: Manifest | None, failure: Failure | None) -> Status:
    if failure and failure.exit_code == ParityError.exit_code:
        return Status.PARITY_FAILED
    if failure or manifest is None:
        return Status.FAILED
    return Status(manifest.parity.status)
