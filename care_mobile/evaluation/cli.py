"""The command `care-eval`: accuracy of bundles on a folder of images.

Only what the command line itself needs is imported here; `--help` must not wait for numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..errors import INTERRUPTED, CareError, RuntimeFailure
from ..given import is_given
from ..terminal import in_scratch, progress_console, result_console, run_command, tell_passed_over

if TYPE_CHECKING:
    from .evaluate import OnStep

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class InterruptedEvaluationError(CareError):
    """The user stopped the evaluation."""

    exit_code = INTERRUPTED


@app.command()
@in_scratch
def care_eval(
    context: typer.Context,
    *,
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="Bundle folders.")],
    data: Annotated[
        Path, typer.Option("--data", "-d", help="Folder with one folder of images per class.")
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Compare with this bundle, image by image: the fp32 one, say."
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="File with the folder name of each of the network's classes, one per line, in "
            "its order; by default the labels of the bundles are the folders' names, without "
            "labels the folders, sorted by name, are the classes."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on this many images, drawn by --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of the order.")] = 0,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="onnxruntime, executorch, coreml or coreml-interpreter; by default the one a "
            "bundle is made for, and for Core ML the interpreter where there is no Mac."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 1,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be read.")
    ] = False,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where the result goes, and progress beside it."),
    ] = Path("evaluation.json"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the accuracy of bundles on a folder of images: top-1, top-5, 95 % intervals, and
    agreement with a reference bundle.

    Among several BUNDLEs, as a pattern gives them, what is no bundle is named and passed over.
    Images go through the preprocessing in each bundle's manifest. An interrupted evaluation goes
    on when the same command is given again. The result goes to standard output and --output,
    progress to standard error.

    Exit codes: 0 evaluated, 1 the result could not be written, 2 wrong arguments, folders or
    images, 5 a bundle is broken, failed or cannot run here, 130 interrupted.
    """
    from ..selection import select_bundles
    from .evaluate import EvaluationRequest, evaluate
    from .render import print_report

    selection = select_bundles(bundles)
    tell_passed_over(selection)
    request = EvaluationRequest(
        bundles=selection.bundles,
        passed_over=selection.passed_over,
        data=data,
        reference=reference,
        classes=classes,
        limit=limit,
        seed=seed,
        runtime=runtime,
        **({"threads": threads} if is_given(context, "threads") else {}),
        skip_bad=skip_bad,
        output=output,
    )
    try:
        with _progress_bar() as on_step:
            report = evaluate(request, on_step)
    except KeyboardInterrupt:
        raise InterruptedEvaluationError(
            "interrupted", "the same command again; it goes on from here"
        ) from None
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
    else:
        print_report(report, result_console())
    if report.failed:
        told = len(report.failed) + len(report.bundles)
        raise RuntimeFailure(
            f"not evaluated: {len(report.failed)} of {told} bundles",
            "see the reasons in the result",
        )


@contextmanager
def _progress_bar() -> Iterator[OnStep]:
    from rich import progress as bar
    from rich.markup import escape

    columns = (
        bar.TextColumn("{task.description}"),
        bar.BarColumn(),
        bar.MofNCompleteColumn(),
        bar.TimeRemainingColumn(),
    )
    console = progress_console()
    tasks: dict[str, bar.TaskID] = {}
    with bar.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:

        def update(subject: str, done: int, total: int) -> None:
            if subject not in tasks:
                tasks[subject] = shown.add_task(escape(subject), total=total)
            shown.update(tasks[subject], completed=done, total=total)

        yield update


def main() -> NoReturn:
    """Entry point of `care-eval`."""
    run_command(app)
