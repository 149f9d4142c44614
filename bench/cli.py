"""The command `care-bench`: measure bundles and keep run records.

Only what the command line itself needs is imported here; `--help` must not wait for numpy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from care_mobile.errors import INTERRUPTED, CareError, UsageError
from care_mobile.given import given
from care_mobile.terminal import (
    in_scratch,
    result_console,
    run_command,
    still_progress,
    tell_passed_over,
)

if TYPE_CHECKING:
    from .runner import Progress

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class InterruptedSessionError(CareError):
    """The user stopped the session."""

    exit_code = INTERRUPTED


@app.command()
@in_scratch
def bench(
    context: typer.Context,
    *,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BUNDLE", help="Bundle folders; all in --output by default."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that holds the bundles.")
    ] = Path("bundles"),
    device: Annotated[
        str, typer.Option(help="Where to measure: desktop, or scripted=FILE to play a script.")
    ] = "desktop",
    blocks: Annotated[
        int, typer.Option(help="Bursts of each bundle, interleaved; more narrow the interval.")
    ] = 10,
    iterations: Annotated[
        int | None,
        typer.Option(help="Inferences per burst; by default what fits 0.25 s, from 5 to 500."),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of one inference.")] = 1,
    affinity: Annotated[
        str | None, typer.Option(metavar="CPUS", help="Pin to these cpus, for example 0,1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of bundles in each block.")] = 0,
    records: Annotated[
        Path | None,
        typer.Option(help="Folder for run records; by default records/ beside --output."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the latency of bundles and keep a run record of each.

    Bundles are warmed up, then measured in interleaved bursts, so that they can be compared
    within one session. Those that cannot run here are skipped and named, and so is, among several
    BUNDLEs as a pattern gives them, what is no bundle. Raw samples go to --records in nanoseconds.
    The result goes to standard output, progress to standard error.

    Exit codes: 0 measured, 1 records could not be written, 2 wrong arguments, 5 a bundle is
    broken, failed or cannot run here, 130 interrupted.
    """
    _check_output_used(context)
    from care_mobile.selection import select_bundles

    from .results import summarize_session
    from .session import SessionRequest, run_session
    from .table import print_results

    selection = select_bundles(bundles or ())
    tell_passed_over(selection)
    request = SessionRequest(
        bundles=selection.bundles,
        passed_over=selection.passed_over,
        output=output,
        # Beside the bundles, not among them: `care-bench bundles/*` shall find bundles only.
        records=records or Path(os.path.normpath(output / os.pardir / "records")),
        device=device,
        blocks=blocks,
        iterations=iterations,
        threads=threads,
        affinity=parse_cpus(affinity) if affinity is not None else None,
        seed=seed,
        given=frozenset(given(context)),
    )
    try:
        with _progress_bar() as progress:
            session = run_session(request, progress)
    except KeyboardInterrupt:
        raise InterruptedSessionError("interrupted: nothing was recorded") from None
    result = summarize_session(session)
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        print_results(result, result_console())
    session.check()


def _check_output_used(context: typer.Context) -> None:
    """--output says where bundles are and records go; both can be said otherwise."""
    if {"bundles", "records", "output"} <= given(context).keys():
        raise UsageError(
            "--output does nothing with bundles and --records", "leave one of the three out"
        )


def parse_cpus(text: str) -> tuple[int, ...]:
    """`0,1` as sorted numbers.

    Raises:
        UsageError: if the text is no such list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise UsageError(f"affinity {text!r} is not a list of cpus", "write --affinity 0,1")
    return tuple(sorted({int(part) for part in parts}))


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Drawn between bursts only."""
    from rich.markup import escape
    from rich.progress import TimeRemainingColumn

    with still_progress(TimeRemainingColumn()) as shown:
        task = shown.add_task("loading", total=None)

        def update(progress: Progress) -> None:
            phase = "warm-up" if progress.block is None else f"block {progress.block + 1}"
            text = escape(f"{phase} {progress.bundle}") if progress.bundle else "done"
            shown.update(task, description=text, completed=progress.done, total=progress.total)
            shown.refresh()

        yield update


def main() -> NoReturn:
    """Entry point of `care-bench`."""
    run_command(app)
