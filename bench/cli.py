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
    "Three more commands, each with --help: care-bench show RECORD prints a record again; "
    "care-bench import FILE takes over what another tool measured; care-bench conformance COMMAND "
    "checks a harness against the protocol."
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
            help="Bundle folders; by default all in --output. Given twice, a bundle is compared "
            "with itself: what is found then is noise.",
        ),
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="BUNDLE",
            help="What the others are compared with, instead of with the fastest.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of bundles.")] = Path(
        "bundles"
    ),
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="Where: desktop, this machine; process=COMMAND, a harness of yours; "
            "scripted=FILE, times from a script. For answers without times: interpreter (Core ML) "
            "and qemu-aarch64=ROOT (ONNX).",
        ),
    ] = "desktop",
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How long: quick for a first look, default to compare, thorough to publish, or "
            "mlperf.",
        ),
    ] = "default",
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Rounds, instead of the preset's. Each loads everything afresh, so more rounds "
            "make intervals narrower.",
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Blocks in each round, instead of the preset's. A block has a burst of every "
            "bundle.",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Inferences in a burst, instead of what fits the preset's time.",
        ),
    ] = None,
    single: Annotated[
        bool,
        typer.Option(
            "--single", help="In blocks, take turns after each inference, not after a burst."
        ),
    ] = False,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="Reject blocks in which the machine changes its speed, and repeat them.",
        ),
    ] = True,
    threads: Annotated[
        str, typer.Option(metavar="COUNTS", help="Threads of an inference; 1,2 measures both.")
    ] = "1",
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="UNIT",
            help="cpu, gpu, npu or all, where an engine has the choice; repeat it for several.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENGINE",
            help="Measure with this engine too, for example torch-eager or torch-compiled.",
        ),
    ] = None,
    affinity: Annotated[
        str | None, typer.Option(metavar="CPUS", help="Run on these cpus only, for example 0,1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the orders in which things run.")] = 0,
    records: Annotated[
        Path | None,
        typer.Option(help="Folder of records; by default records/ beside --output."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RECORD", help="Go on with a session that was cut off, as planned."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for a device in use.")
    ] = 0.0,
    form: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Measure the latency of bundles and keep a record of all samples.

    A session has several rounds. Each starts a fresh process, loads every bundle anew, compares
    its answers with the reference network's, warms it up, and measures all bundles in turns.
    Intervals are over rounds: a load brings an offset of its own, which no repetition inside it
    averages away.

    A bundle that cannot run on the device is skipped and named; so is, among several BUNDLEs, what
    is no bundle. The result goes to standard output, progress to standard error. Ctrl-C keeps the
    rounds that are finished, and --resume RECORD goes on with them.

    Exit codes: 0 measured; 1 the record could not be written; 2 wrong arguments; 5 a bundle is
    broken, fails, answers wrongly or cannot run here, a figure is not valid, or the device is in
    use; 130 interrupted.
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
