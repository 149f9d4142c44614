"""A lane per target: its worker, and the thread that hands it one job after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from care_mobile.errors import CareError, MissingDependencyError

from .targets import Target
from .worker import Worker


@dataclass(frozen=True)
class Lane:
    """`loading` are the imports of the target's modules, in their order."""

    worker: Worker
    thread: ThreadPoolExecutor
    loading: tuple[Future[None], ...]

    def failure(self) -> BaseException | None:
        """What is wrong with the first of its modules that cannot be imported, as far as tried."""
        done = (future.exception() for future in self.loading if future.done())
        return next((error for error in done if error), None)


def lacking(targets: Sequence[Target]) -> dict[Target, CareError]:
    """The targets whose packages are not installed, each with its error.

    Raises:
        MissingDependencyError: if no target is left.
    """
    errors: dict[Target, CareError] = {}
    for target in targets:
        found = target.availability()
        if not found.usable:
            errors[target] = MissingDependencyError(
                f"{target.name} cannot be made here: {found.detail}", found.remedy
            )
    if len(errors) == len(targets):
        raise _none_left(targets)
    return errors


def _none_left(targets: Sequence[Target]) -> MissingDependencyError:
    names = " and ".join(target.name for target in targets)
    found = [target.availability() for target in targets]
    details = dict.fromkeys(entry.detail for entry in found)
    return MissingDependencyError(
        f"{names} cannot be made here: {'; '.join(details)}", found[0].remedy
    )


@contextmanager
def open_lanes(targets: Sequence[Target]) -> Iterator[dict[str, Lane]]:
    """Lanes by the target's name, once the first has survived importing torch: what crashes there
    would crash this process too.

    Raises:
        MissingDependencyError: if torch cannot be imported.
    """
    with ExitStack() as stack:
        lanes: dict[str, Lane] = {}
        for target in targets:
            # Last in, first out: on an error the worker ends before its thread is waited for.
            thread = stack.enter_context(ThreadPoolExecutor(max_workers=1))
            worker = Worker(target)
            stack.callback(worker.close)
            loading = tuple(thread.submit(worker.load, module) for module in target.modules)
            lanes[target.name] = Lane(worker, thread, loading)
        next(iter(lanes.values())).loading[0].result()
        yield lanes


def check_any_loads(lanes: Mapping[str, Lane]) -> None:
    """Raise the first lane's error if every one has a module that cannot be imported."""
    errors = [lane.failure() for lane in lanes.values()]
    if all(errors) and errors[0]:
        raise errors[0]
