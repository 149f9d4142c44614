"""The command `care-bench`: measure bundles and keep records; read, import and check others'.

Only what the command line itself needs is imported here; `--help` must not wait for numpy.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from care_mobile.errors import UsageError, unknown_name
from care_mobile.given import given
from care_mobile.terminal import (
    in_scratch,
    progress_console,
    run_command,
    tell_passed_over,
)

from .options import Format, FormatOption, JsonOption, PlotOption, check_plot, chosen_format

if TYPE_CHECKING:
    from .protocol.plan import Unit
    from .request import SessionOutcome, SessionRequest, Waiting
    from .session import On

app = typer.Typer(add_completion=False, rich_markup_mode=None)

COMMANDS = ("import", "conformance", "show")
"""What may stand in place of the first BUNDLE; a bundle of such a name is written ./import."""

EPILOG = (
    "Further commands, each with --help: care-bench import FILE takes over what another tool "
    "measured; care-bench conformance COMMAND checks a harness; care-bench show RECORD prints a "
    "record again."
)


@app.command(epilog=EPILOG)
@in_scratch
def bench(
    context: typer.Context,
    *,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BUNDLE",
            help="Bundle folders; all in --output by default. One may be given twice.",
        ),
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option(metavar="BUNDLE", help="A bundle that the others are compared with."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that holds the bundles.")
    ] = Path("bundles"),
    device: Annotated[
        str,
        typer.Option(
            help="Where to measure: desktop; process=COMMAND, a harness of yours; "
            "scripted=FILE; or, for answers only, interpreter or qemu-aarch64=ROOT."
        ),
    ] = "desktop",
    preset: Annotated[
        str, typer.Option(help="How much: quick, default, thorough or mlperf.")
    ] = "default",
    rounds: Annotated[
        int | None,
        typer.Option(help="Launches, in each of which all is loaded afresh: the evidence."),
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Blocks per round, each with a burst of every bundle.")
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(help="Inferences per burst; by default what fits the preset's time."),
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="Alternate inference by inference in a block.")
    ] = False,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="Reject blocks around which a control kernel changes its speed.",
        ),
    ] = True,
    threads: Annotated[
        str, typer.Option(metavar="COUNTS", help="Threads of one inference; 1,2 measures both.")
    ] = "1",
    unit: Annotated[
        list[str] | None,
        typer.Option(help="cpu, gpu, npu or all, where there is a choice; several measure each."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE", help="Measure on this too: torch-eager, torch-compiled, ..."
        ),
    ] = None,
    affinity: Annotated[
        str | None, typer.Option(metavar="CPUS", help="Pin to these cpus, for example 0,1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all orders.")] = 0,
    records: Annotated[
        Path | None,
        typer.Option(help="Folder for records; by default records/ beside --output."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RECORD", help="Go on with a session that was cut off."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Wait for a device that is in use.")
    ] = 0.0,
    form: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure the latency of bundles and keep a record of all samples.

    A session has several rounds. Each starts a fresh process, loads every bundle anew, compares
    its answers with the reference's, warms up, and measures interleaved bursts; intervals come from
    the rounds. Bundles that cannot run on the device are skipped and named, and so is, among
    several BUNDLEs as a pattern gives them, what is no bundle. The result goes to standard output,
    progress to standard error. What has landed is kept when a session is interrupted; --resume
    goes on with it.

    Exit codes: 0 measured, 1 the record could not be written, 2 wrong arguments, 5 a bundle is
    broken, failed, answers wrongly or cannot run here, or a measurement is not valid, 130
    interrupted.
    """
    _check_output_used(context)
    from care_mobile.selection import select_bundles

    from .request import SessionRequest, resume_session, run_session

    form = chosen_format(context, form, as_json)
    check_plot(plot)
    selection = select_bundles(bundles or ())
    tell_passed_over(selection)
    request = SessionRequest(
        bundles=selection.bundles,
        bases=tuple(base or ()),
        passed_over=selection.passed_over,
        output=output,
        # Beside the bundles, not among them: `care-bench bundles/*` shall find bundles only.
        records=records or Path(os.path.normpath(output / os.pardir / "records")),
        device=device,
        preset=preset,
        rounds=rounds,
        blocks=blocks,
        iterations=iterations,
        single=single,
        gated=gate,
        threads=parse_numbers("threads", threads),
        units=tuple(dict.fromkeys(_unit(text) for text in unit or ())),
        engines=tuple(dict.fromkeys(also or ())),
        affinity=parse_numbers("affinity", affinity) if affinity is not None else None,
        seed=seed,
        wait_seconds=wait,
        given=_asked(context),
    )
    with _progress() as (on, waiting):
        if resume is not None:
            _check_resumed(request)
            outcome = resume_session(resume, request, on, waiting)
        else:
            outcome = run_session(request, on, waiting)
    _show(outcome, form, plot)


def _check_output_used(context: typer.Context) -> None:
    """--output says where bundles are and records go; both can be said otherwise."""
    if {"bundles", "records", "output"} <= given(context).keys():
        raise UsageError(
            "--output does nothing with bundles and --records", "leave one of the three out"
        )


_NAMES = {"unit": "units", "also": "engines"}
_BESIDE_RESUME = frozenset(
    ("bundles", "output", "device", "wait", "resume", "form", "as_json", "plot")
)


def _asked(context: typer.Context) -> frozenset[str]:
    return frozenset(_NAMES.get(name, name) for name in given(context))


def _check_resumed(request: SessionRequest) -> None:
    """What a session does is in its record."""
    other = sorted(request.given - _BESIDE_RESUME)
    if other:
        option = {"units": "unit", "engines": "also"}.get(other[0], other[0])
        raise UsageError(
            f"--{option} does nothing with --resume, which goes on with the plan on record",
            "leave it out, or measure anew",
        )


def _unit(text: str) -> Unit:
    from .protocol import plan

    units = {unit.value: unit for unit in plan.Unit}
    if text not in units:
        raise unknown_name("unit", text, units)
    return units[text]


def parse_numbers(option: str, text: str) -> tuple[int, ...]:
    """`0,1` as sorted numbers.

    Raises:
        UsageError: if the text is no such list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise UsageError(
            f"{option} {text!r} is not a list of numbers", f"write --{option} 1,2 or --{option} 1"
        )
    return tuple(sorted({int(part) for part in parts}))


def _progress() -> AbstractContextManager[tuple[On, Waiting]]:
    from .report.live import live

    return live(progress_console())


def _show(outcome: SessionOutcome, form: Format, plot: Path | None) -> None:
    """Print the result, and end as it deserves."""
    from .report.output import show

    show(outcome, form.value, plot)
    outcome.check()


def main() -> NoReturn:
    """Entry point of `care-bench`."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        from . import commands

        name = sys.argv.pop(1)
        sys.argv[0] = f"{sys.argv[0]} {name}"
        run_command(commands.APPS[name])
    run_command(app)
