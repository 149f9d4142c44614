"""The whole way from networks' names to verified bundles, on one screen."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path

from care_mobile import bundle as bundles
from care_mobile.errors import CareError, ModelError, first_line
from care_mobile.processes.scratch import scratch as scratch_folder
from care_mobile.requirements import load

from .lanes import check_any_loads, lacking, open_lanes
from .request import ExportRequest
from .result import BundleResult, ExportReport, NetworkResult, Status
from .unused import check_skipped

OnStep = Callable[[str, str], None]
"""Called with a network or bundle and the step it is at; from several threads."""


def export_bundles(
    request: ExportRequest, on_step: OnStep = lambda subject, step: None
) -> ExportReport:
    """Export every model of `request` at every resolution to every target.

    A target that fails does not lose the others, nor one network of several: the result says why.

    Raises:
        CareError: for what concerns the whole request: names, weights, the output folder; what is
            wrong with a network, if no other stands; packages that are missing or broken, if no
            target can do without them.
    """
    started = time.monotonic()
    request = request.checked()
    orders = request.orders()
    subjects = request.subjects()
    targets = list(dict.fromkeys(order.target for order in orders))
    without = lacking(targets)
    bundles.check_output_folder(request.output)
    for model, size in subjects:
        for order in orders:
            bundles.check_replaceable(request.output / request.bundle_name(model, order, size))
    variants = {order.label: order.variant for order in orders if order.target not in without}
    networks: list[NetworkResult] = []
    futures: list[Future[BundleResult]] = []
    refused: list[CareError] = []
    with ExitStack() as stack:
        stack.enter_context(scratch_folder())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="care-export-")))
        lanes = stack.enter_context(open_lanes([t for t in targets if t not in without]))
        load("torch", "export")
        from .network import prepare
        from .produce import produce, refusal
        from .reparam import DEFAULT, select

        stack.enter_context(_one_core_for_the_workers())
        passes = select(request.with_passes, request.skip_passes)
        check_skipped(request, [rule.name for rule in DEFAULT])

        def on_prepare(subject: str, step: str) -> None:
            check_any_loads(lanes)
            on_step(subject, step)

        for model, size in subjects:
            label = f"{model} {size}"
            try:
                network = prepare(
                    request,
                    model,
                    size,
                    passes,
                    variants,
                    scratch,
                    lambda step, s=label: on_prepare(s, step),  # type: ignore[misc]
                )
            except Exception as raised:  # whatever a user's network, or a defect of ours, raises
                error = _as_refusal(label, raised)
                refused.append(error)
                if len(refused) == len(subjects):
                    raise refused[0] from None
                on_step(label, Status.FAILED.value)
                futures += [_done(refusal(request, model, size, o, error)) for o in orders]
                continue
            on_step(label, "prepared")
            networks.append(network.result)
            for order in orders:
                name = request.bundle_name(model, order, size)
                if order.target in without:
                    result = refusal(request, model, size, order, without[order.target])
                    on_step(name, result.status.value)
                    futures.append(_done(result))
                    continue
                lane = lanes[order.target.name]
                futures.append(
                    lane.thread.submit(
                        produce,
                        request,
                        network,
                        order,
                        lane.worker,
                        lambda step, s=name: on_step(s, step),  # type: ignore[misc]
                    )
                )
        results = [future.result() for future in futures]
    return ExportReport(
        output=request.output,
        networks=tuple(networks),
        bundles=tuple(results),
        absent=request.absent(),
        seconds=round(time.monotonic() - started, 2),
    )


def _as_refusal(label: str, raised: Exception) -> CareError:
    """An error for users, so that one network does not lose the others."""
    if isinstance(raised, CareError):
        return raised
    line = first_line(raised, "no message")
    error = ModelError(f"{label}: {type(raised).__name__}: {line}", "please report it")
    error.__cause__ = raised
    return error


def _done(result: BundleResult) -> Future[BundleResult]:
    future: Future[BundleResult] = Future()
    future.set_result(result)
    return future


@contextmanager
def _one_core_for_the_workers() -> Iterator[None]:
    """Torch's threads spin while they wait for each other; on busy cores that costs more than
    it brings."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
