"""The whole way from networks' names to verified bundles, on one screen."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from care_mobile import bundle as bundles
from care_mobile.errors import CareError
from care_mobile.processes.scratch import scratch as scratch_folder

from .network import Network, prepare
from .produce import produce, refusal
from .reparam import DEFAULT, select
from .request import ExportRequest
from .result import BundleResult, ExportReport, Status
from .unused import check_skipped
from .worker import Worker

OnStep = Callable[[str, str], None]
"""Called with a network or bundle and the step it is at; from several threads."""


def export_bundles(
    request: ExportRequest, on_step: OnStep = lambda subject, step: None
) -> ExportReport:
    """Export every model of `request` at every resolution to every target.

    A target that fails does not lose the others, nor one network of several: the result says why.

    Raises:
        CareError: for what concerns the whole request: names, weights, the output folder; what is
            wrong with a network, if no other stands.
    """
    started = time.monotonic()
    request = request.checked()
    orders = request.orders()
    passes = select(request.with_passes, request.skip_passes)
    check_skipped(request, [rule.name for rule in DEFAULT])
    subjects = request.subjects()
    bundles.check_output_folder(request.output)
    for model, size in subjects:
        for order in orders:
            bundles.check_replaceable(request.output / request.bundle_name(model, order, size))

    variants = {order.label: order.variant for order in orders}
    networks: list[Network] = []
    futures: list[Future[BundleResult]] = []
    refused: list[CareError] = []
    with ExitStack() as stack:
        stack.enter_context(_one_core_for_the_workers())
        stack.enter_context(scratch_folder())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="care-export-")))
        lanes: dict[str, tuple[ThreadPoolExecutor, Worker]] = {}
        for target in dict.fromkeys(order.target for order in orders):
            # A target's precisions follow one another. Last in, first out: on an error the worker
            # ends before its thread is waited for.
            thread = stack.enter_context(ThreadPoolExecutor(max_workers=1))
            worker = Worker(target)
            stack.callback(worker.close)
            lanes[target.name] = thread, worker
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
                    lambda step, s=label: on_step(s, step),  # type: ignore[misc]
                )
            except CareError as error:
                refused.append(error)
                if len(refused) == len(subjects):
                    raise refused[0] from None
                on_step(label, Status.FAILED.value)
                futures += [_done(refusal(request, model, size, o, error)) for o in orders]
                continue
            on_step(label, "prepared")
            networks.append(network)
            for order in orders:
                name = request.bundle_name(model, order, size)
                thread, worker = lanes[order.target.name]
                futures.append(
                    thread.submit(
                        produce,
                        request,
                        network,
                        order,
                        worker,
                        lambda step, s=name: on_step(s, step),  # type: ignore[misc]
                    )
                )
        results = [future.result() for future in futures]
    return ExportReport(
        output=request.output,
        networks=tuple(network.result for network in networks),
        bundles=tuple(results),
        seconds=round(time.monotonic() - started, 2),
    )


def _done(result: BundleResult) -> Future[BundleResult]:
    future: Future[BundleResult] = Future()
    future.set_result(result)
    return future


@contextmanager
def _one_core_for_the_workers() -> Iterator[None]:
    """Torch's threads spin while they wait for each other; on busy cores that costs more than
    it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
