"""What the commands share: where they print, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

from .errors import INTERRUPTED, CareError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


@cache
def progress_console() -> Console:
    """A console for progress and messages, on standard error.

    It has a file descriptor of its own, so `quiet` can redirect the usual one meanwhile.
    """
    from rich.console import Console

    return Console(file=_private_stderr(), highlight=False)


def result_console() -> Console:
    """A console for results, on standard output; wide when that is not a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(highlight=False, width=width)


@contextmanager
def still_progress(last: ProgressColumn) -> Iterator[Progress]:
    """A progress bar that is drawn when it is told to: a redraw while something is timed would be
    timed too. `last` is the column after the bar.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    console = progress_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        last,
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        yield shown


def _private_stderr() -> TextIO:
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8")
    except (OSError, ValueError):  # a captured stream without a descriptor
        return sys.stderr


def run_command(command: Callable[[], object]) -> NoReturn:
    """Run a command line; errors meant for users become two lines and their exit code.

    An integer that `command` returns is its exit code.
    """
    try:
        code = command()
        sys.stdout.flush()
    except CareError as error:
        _say(f"error: {error}", error.hint)
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:  # typer's own end, also of an interrupt
        if ended.code != INTERRUPTED:
            raise
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    if code == INTERRUPTED:
        _say("interrupted; what was finished is intact", "")
    raise SystemExit(code if isinstance(code, int) else 0)


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Interrupts that cannot get lost: yields a check that raises one that was swallowed.

    Python drops a KeyboardInterrupt that is raised inside a finalizer or a library's callback, of
    which tracing a network has many. Only for the main thread.
    """
    seen = threading.Event()

    def remember(number: int, frame: FrameType | None) -> None:
        seen.set()
        signal.default_int_handler(number, frame)

    def check() -> None:
        if seen.is_set():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, previous)


def _say(line: str, hint: str) -> None:
    sys.stderr.write(line + "\n")
    if hint:
        sys.stderr.write(f"  try: {hint}\n")
    sys.stderr.flush()
