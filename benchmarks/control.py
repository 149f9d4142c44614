"""`python -m benchmarks.control`: how often care-bench finds a difference where there is none.

Only what the command line itself needs is imported here.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from care_mobile.terminal import run_command

from .progress import InterruptedRunError, progress_bar

MARK = "control"
"""Of the place in a Markdown file: `<!-- make control: begin -->`."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def control_command(
    *,
    sessions: Annotated[
        int, typer.Option(min=1, max=100_000, help="Sessions in all, with those of before.")
    ] = 200,
    bundle: Annotated[
        Path | None,
        typer.Option(help="What is compared with itself; CARE-S0 for ONNX in fp32 by default."),
    ] = None,
    preset: Annotated[str, typer.Option(help="Of care-bench, with bursts.")] = "default",
    gated: Annotated[
        bool, typer.Option("--gated/--no-gate", help="Whether the control kernel rejects blocks.")
    ] = True,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for control.md, control.json and records."),
    ] = Path("build/control"),
    readme: Annotated[
        Path | None, typer.Option(help="Also renew the section in this Markdown file.")
    ] = None,
) -> None:
    """Measure a bundle against a copy of itself, session after session: how often the interval
    excludes 1, how wide it is, and where its width comes from.

    Everything runs on one cpu with one thread. Finished sessions stay in --output; the same
    command goes on after it was stopped, and with more --sessions adds to them. The document
    goes to --output, progress to standard error.

    Exit codes: 0 measured, 1 a file could not be written or the export failed, 2 wrong arguments,
    5 the bundle failed or cannot run here, 130 interrupted.
    """
    from .control_sessions import ControlRequest, run_control
    from .rendering import control, control_section, place_of_table, renew_table, write

    if readme is not None:
        place_of_table(readme, MARK)  # before anything that takes long
    request = ControlRequest(
        bundle=bundle,
        sessions=sessions,
        preset=preset,
        gated=gated,
        output=output,
        command=shlex.join(["python", "-m", "benchmarks.control", *sys.argv[1:]]),
    )
    try:
        with progress_bar() as on_step:
            found = run_control(request, on_step)
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"interrupted: finished sessions are in {output / 'records'}",
            "the same command goes on",
        ) from None
    document = write(output, "control", control(found), found)
    if readme is not None:
        renew_table(readme, control_section(found), MARK)
    sys.stdout.write(f"{document}: {len(found.sessions)} sessions\n")


def main() -> NoReturn:
    """Entry point of `python -m benchmarks.control`."""
    run_command(app)


if __name__ == "__main__":
    main()
