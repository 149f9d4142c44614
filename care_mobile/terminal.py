"""What the commands share: where they print, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TextIO, TypeVar

from .errors import INTERRUPTED, CareError
from .processes.endings import endings
from .processes.scratch import scratch

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

    An integer that `command` returns is its exit code. Ended by Ctrl-C, SIGTERM or SIGHUP it
    cleans up and gives 130, 143 or 129.
    """
    with endings() as ended:
        code = _outcome(command)
        if code == INTERRUPTED:
            code = ended.exit_code(usual=INTERRUPTED)
    raise SystemExit(code) from None


def _outcome(command: Callable[[], object]) -> int | str | None:
    try:
        code = command()
        sys.stdout.flush()
    except CareError as error:
        _say(f"error: {error}", error.hint)
        return error.exit_code
    except SystemExit as ended:  # typer's own end, also of an interrupt
        if ended.code != INTERRUPTED:
            return ended.code
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if code == INTERRUPTED:
        _say("interrupted; what was finished is intact", "")
    return code if isinstance(code, int) else 0


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_scratch(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A command's body whose temporary files, and those of all libraries, lie in one folder that
    is gone when it ends; see `processes.scratch`."""

    @wraps(command)
    def run(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        with scratch():
            return command(*arguments, **options)

    return run


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Interrupts that cannot get lost: yields a check that raises one that was swallowed.

    Python drops a KeyboardInterrupt that is raised inside a finalizer or a library's callback, of
    which tracing a network has many. Only for the main thread.
    """
    with endings() as ended:
        yield ended.check


def _say(line: str, hint: str) -> None:
    sys.stderr.write(line + "\n")
    if hint:
        sys.stderr.write(f"  try: {hint}\n")
    sys.stderr.flush()
