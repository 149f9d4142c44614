"""Progress on a terminal while a session runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..protocol.base import Contract
from ..protocol.record import Landed, Launched, Waited
from .progress import REDRAW_NS, Progress


@contextmanager
def live(
    console: Console, clock: Callable[[], int] = time.monotonic_ns
) -> Iterator[tuple[Callable[[Contract], None], Callable[[str], None]]]:
    """Yields what is told the lines of a record as they come, and what is told who is waited for.

    Drawn only when a line came, and at most twice a second: no timer wakes up beside what is
    measured. Where there is no terminal only the waiting is said.
    """
    told = ""

    def waiting(holder: str) -> None:
        nonlocal told
        if holder != told:
            told = holder
            console.print(Text(f"waiting: the device is in use by {holder}"))

    if not console.is_terminal:
        yield lambda event: None, waiting
        return
    progress = Progress(clock)
    drawn_ns: int | None = None
    with Live(
        progress,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as shown:

        def on(event: Contract) -> None:
            nonlocal drawn_ns
            progress.saw(event)
            now = clock()
            turn = isinstance(event, Launched | Landed | Waited)
            if turn or drawn_ns is None or now - drawn_ns >= REDRAW_NS:
                drawn_ns = now
                shown.refresh()

        yield on, waiting
