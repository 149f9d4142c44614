"""`python -m benchmarks.compare`: our bundles against naive exports of the same weights.

Only what the command line itself needs is imported here; `--help` must not wait for torch.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from care_mobile.terminal import run_command

from .progress import InterruptedRunError, progress_bar

MODELS = "care_s0,care_s1,care_s2"
LAUNCHES = 10
BLOCKS = 4
ITERATIONS = 10
"""Runs per block: where a machine changes its speed, many short blocks compare best."""
QUICK_MODELS = "care_s0"
QUICK_LAUNCHES = 2
QUICK_BLOCKS = 2
QUICK_ITERATIONS = 3

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def compare_command(
    *,
    models: Annotated[
        str | None,
        typer.Option(
            help=f"Networks, comma-separated, with weights random:0; {MODELS} by default."
        ),
    ] = None,
    precisions: Annotated[
        str, typer.Option(help="Of our bundles, comma-separated; those a target has, fp32 always.")
    ] = "fp32,int8",
    launches: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help=f"Processes that load every bundle; {LAUNCHES}."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for performance.md, performance.json, bundles and records.",
        ),
    ] = Path("build/bench"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help=f"{QUICK_MODELS} only, {QUICK_LAUNCHES} launches."),
    ] = False,
) -> None:
    """Compare speed, size and export time of our bundles with naive exports of the same weights.

    Bundles of one runtime are measured on one cpu with one thread, interleaved, in launches that
    load them afresh, over which intervals are taken. The document goes to --output, progress to
    standard error.

    Exit codes: 0 measured, 1 a file could not be written or a converter failed, 2 wrong
    arguments, 5 a bundle failed or cannot run here, 130 interrupted.
    """
    from .collect import CompareRequest, compare
    from .rendering import performance, write

    request = CompareRequest(
        models=_names(models or (QUICK_MODELS if quick else MODELS)),
        precisions=_names(precisions),
        launches=launches or (QUICK_LAUNCHES if quick else LAUNCHES),
        blocks=QUICK_BLOCKS if quick else BLOCKS,
        iterations=QUICK_ITERATIONS if quick else ITERATIONS,
        quick=quick,
        output=output,
        command=shlex.join(["python", "-m", "benchmarks.compare", *sys.argv[1:]]),
    )
    try:
        with progress_bar() as on_step:
            found = compare(request, on_step)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted: nothing was written") from None
    document = write(output, "performance", performance(found), found)
    sys.stdout.write(f"{document}: {len(found.contests)} comparisons in {found.seconds:.0f} s\n")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def main() -> NoReturn:
    """Entry point of `python -m benchmarks.compare`."""
    run_command(app)


if __name__ == "__main__":
    main()
