"""The command `care-inspect`: what a model file holds, and what a phone may make of it.

Only what the command line itself needs is imported here; `--help` must not wait for numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..errors import UsageError
from ..terminal import in_scratch, progress_console, result_console, run_command

if TYPE_CHECKING:
    from ..divergence import Divergence
    from .results import Inspection

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@in_scratch
def care_inspect(
    *,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A .mlpackage folder, an .mlmodel, .mlmodelc, .onnx or .pte file, or a bundle.",
        ),
    ],
    operations: Annotated[
        bool, typer.Option("--operations", help="Core ML: the forecast of every operation.")
    ] = False,
    largest: Annotated[int, typer.Option(min=0, help="How many of the largest layers.")] = 10,
    compute_plan: Annotated[
        bool,
        typer.Option(
            "--compute-plan", help="Core ML, on a Mac: compare the forecast with Core ML's plan."
        ),
    ] = False,
    divergence: Annotated[
        bool,
        typer.Option(
            "--divergence",
            help="Core ML: run it on noise in its declared types and in float64, and name the "
            "operations that differ most.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="Core ML: the same with another package of this network as reference."),
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            help="The shape of an input that the file leaves open; once for each input.",
        ),
    ] = None,
    function: Annotated[
        str | None,
        typer.Option(
            "--function",
            "--method",
            help="Which function of an ML Program, or method of a .pte, is shown; by default the "
            "main one.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a model file holds: inputs, operations, weights, multiply-accumulates, and for
    Core ML a forecast of what the Neural Engine takes.

    Nothing in the file is executed. Any file of these kinds will do, not only those of
    care-export.

    Exit codes: 0 inspected, 2 no model of a known kind or a damaged one, 5 an altered bundle or a
    missing package.
    """
    from .inspector import inspect
    from .options import parse_shapes

    shapes = parse_shapes(input_shape or ())
    console = progress_console()
    if console.is_terminal:
        with console.status("reading"):
            found = inspect(path, largest, compute_plan, shapes, function)
    else:
        found = inspect(path, largest, compute_plan, shapes, function)
    _check_used(
        found,
        {
            "--operations": operations,
            "--divergence": divergence,
            "--against": against is not None,
        },
    )
    if divergence or against:
        found = found.model_copy(update={"divergence": _diverge(path, against, shapes, function)})
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    from .render import print_inspection

    print_inspection(found, result_console(), operations)


def _check_used(found: Inspection, asked: dict[str, bool]) -> None:
    """Raise a UsageError for an option that does nothing for a file without a forecast."""
    for option, given in asked.items():
        if given and found.forecast is None:
            raise UsageError(
                f"{option} does nothing for {found.name}: it is for Core ML programs",
                "leave it out, or name a .mlpackage",
            )


def _diverge(
    path: Path,
    against: Path | None,
    shapes: Mapping[str, tuple[int, ...]],
    function: str | None,
) -> Divergence:
    from rich.progress import Progress

    from .divergence import diverge

    with Progress(console=progress_console(), transient=True) as progress:
        task = progress.add_task("running every operation", total=None)
        return diverge(
            path,
            against,
            shapes,
            function,
            on_operation=lambda done, total: progress.update(task, completed=done, total=total),
        )


def main() -> NoReturn:
    """Entry point of `care-inspect`."""
    run_command(app)
