"""`python -m benchmarks.precision`: what every precision of every target costs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from care_mobile.terminal import run_command

from .progress import InterruptedRunError, progress_bar

QUICK_LIMIT = 50
QUICK_LAUNCHES = 2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def precision_command(
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for precision.md, precision.json and bundles."),
    ] = Path("build/precision"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"The digits only, on {QUICK_LIMIT} images, in {QUICK_LAUNCHES} launches.",
        ),
    ] = False,
    readme: Annotated[
        Path | None,
        typer.Option(help="Also renew the table of the trained network in this Markdown file."),
    ] = None,
) -> None:
    """Export every target in every precision: size, latency on this machine, distance to PyTorch,
    and accuracy on the held-out images of examples/digits.

    The document goes to --output, progress to standard error.

    Exit codes: 0 done, 1 a file could not be written or a converter failed, 2 wrong arguments,
    5 a bundle failed or cannot run here, 130 interrupted.
    """
    from .accuracy import PrecisionRequest, measure_precisions
    from .rendering import place_of_table, precision, renew_table, trained_table, write

    if readme is not None:
        place_of_table(readme)  # before anything that takes long
    command = shlex.join(["python", "-m", "benchmarks.precision", *sys.argv[1:]])
    request = PrecisionRequest(output=output, command=command)
    if quick:
        request = request.model_copy(
            update={"random_models": (), "limit": QUICK_LIMIT, "launches": QUICK_LAUNCHES}
        )
    try:
        with progress_bar() as on_step:
            found = measure_precisions(request, on_step)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted: no document was written") from None
    document = write(output, "precision", precision(found), found)
    if readme is not None:
        renew_table(readme, trained_table(found))
    sys.stdout.write(f"{document}: {len(found.cases)} bundles in {found.seconds:.0f} s\n")


def main() -> NoReturn:
    """Entry point of `python -m benchmarks.precision`."""
    run_command(app)


if __name__ == "__main__":
    main()
