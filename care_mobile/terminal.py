"""What the commands share: where they print, and how they end."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TextIO, TypeVar

from .errors import INTERRUPTED, CareError, MissingDependencyError, UsageError
from .processes.endings import endings
from .processes.scratch import scratch
from .text import shortened, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from .selection import Selection


@cache
def progress_console() -> Console:
    """A console for progress and messages, on standard error.

    It has a file descriptor of its own, so `quiet` can redirect the usual one meanwhile.
    """
    return _console(file=_private_stderr())


def result_console() -> Console:
    """A console for results, on standard output; wide when that is not a terminal."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return _console(width=width)


def _console(**options: Any) -> Console:
    """A console on which what files say cannot act: escape sequences are written out."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Harmless(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else visible(segment.text)
                yield Segment(text, segment.style, segment.control)

    return Harmless(highlight=False, **options)


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


_SYSTEM_HINT = "check the path, its permissions and the free space"


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
    except (OSError, ImportError, MemoryError) as error:
        return _of_the_machine(error)
    if code == INTERRUPTED:
        _say("interrupted; what was finished is intact", "")
    return code if isinstance(code, int) else 0


def _of_the_machine(error: OSError | ImportError | MemoryError) -> int:
    """Say what no step of its own has met before; returns the exit code."""
    if isinstance(error, MemoryError):
        _say("error: out of memory", "end other programs, or choose less work at once")
        return 1
    if isinstance(error, ImportError):  # of what all of care-mobile needs
        _say(
            f"error: {error.name or 'a package'} cannot be loaded: {shortened(str(error), 200)}",
            "pip install --force-reinstall care-mobile, or see care-doctor",
        )
        return MissingDependencyError.exit_code
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    _say(f"error: {shortened(where, 200)}{error.strerror or error}", _SYSTEM_HINT)
    return UsageError.exit_code if error.errno == errno.ENAMETOOLONG else 1


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


def tell_passed_over(selection: Selection) -> None:
    """Name on standard error what was no bundle, a line each."""
    for found in selection.passed_over:
        path = " ".join(shortened(found.path, 200).split())
        _say(f"passed over: {path} is no bundle: {found.reason}", "")


def _say(line: str, hint: str) -> None:
    sys.stderr.write(visible(line) + "\n")
    if hint:
        sys.stderr.write(f"  try: {visible(hint)}\n")
    sys.stderr.flush()
