"""What both commands show while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from care_mobile.errors import INTERRUPTED, CareError
from care_mobile.terminal import progress_console


class InterruptedRunError(CareError):
    """The user stopped the command."""

    exit_code = INTERRUPTED


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Takes what comes next and the share that is done.

    It is drawn between steps only: a redraw during a burst would be measured too.
    """
    from rich import progress as bar
    from rich.markup import escape

    columns = (bar.TextColumn("{task.description}"), bar.BarColumn(), bar.TimeElapsedColumn())
    console = progress_console()
    with bar.Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task("starting", total=1.0)

        def update(what: str, share: float) -> None:
            shown.update(task, description=escape(what), completed=share)
            shown.refresh()

        yield update
