"""What both commands show while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from care_mobile.errors import INTERRUPTED, CareError
from care_mobile.terminal import still_progress


class InterruptedRunError(CareError):
    """The user stopped the command."""

    exit_code = INTERRUPTED


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Takes what comes next and the share that is done; drawn between steps only."""
    from rich.markup import escape
    from rich.progress import TimeElapsedColumn

    with still_progress(TimeElapsedColumn()) as shown:
        task = shown.add_task("starting", total=1.0)

        def update(what: str, share: float) -> None:
            shown.update(task, description=escape(what), completed=share)
            shown.refresh()

        yield update
