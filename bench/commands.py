"""What stands beside measuring: `care-bench show`, `import` and `conformance`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from care_mobile.errors import CareError, UsageError
from care_mobile.terminal import in_scratch, progress_console, result_console

from .options import Format, FormatOption, JsonOption, PlotOption, check_plot, chosen_format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from care_mobile.selection import PassedOver

    from .protocol.record import Session
    from .report.output import LeftOut


def _app(command: Callable[..., None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command)
    return app


class Shown:
    """A record that is only shown: nothing is known beside it."""

    skipped: Sequence[LeftOut] = ()
    passed_over: Sequence[PassedOver] = ()

    def __init__(self, session: Session, file: Path) -> None:
        self.session = session
        self.file = file


@in_scratch
def show_record(
    context: typer.Context,
    *,
    record: Annotated[
        Path,
        typer.Argument(
            metavar="RECORD", help="A file of records/; of an earlier version, its folder too."
        ),
    ],
    form: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Print what a record says, as care-bench does after measuring.

    Figures and findings are computed anew, by the rules of this version.

    Exit codes: 0 shown; 2 wrong arguments; 5 no record, or a damaged one.
    """
    from .records import open_record
    from .report.output import show

    form = chosen_format(context, form, as_json)
    check_plot(plot)
    show(Shown(open_record(record), record), form.value, plot)


@in_scratch
def import_record(
    context: typer.Context,
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What the other tool wrote or printed.")
    ],
    tool: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which tool; by default the file's content tells."),
    ] = None,
    records: Annotated[Path, typer.Option(help="Folder of records.")] = Path("records"),
    form: FormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Take over what another tool measured, as records that say what they lack.

    Known: onnxruntime_perf_test (output or -r file), LiteRT's benchmark_model, ExecuTorch's
    minibench, androidx.benchmark, coremltools' MLModelBenchmarker and AI Hub's perf.yaml.
    Comparisons refuse, or say, what such records cannot tell.

    Exit codes: 0 written; 1 a record could not be written; 2 wrong arguments; 5 a file of no known
    tool, or a damaged one.
    """
    from .importers import import_file, write_session
    from .protocol.reading import read_session
    from .report.output import FORMATS, show, view_of

    form = chosen_format(context, form, as_json)
    files = [write_session(records, lines) for lines in import_file(file, tool)]
    outcomes = [Shown(read_session(path), path) for path in files]
    if form is Format.JSON and len(outcomes) > 1:
        # One document, whatever a file holds.
        views = ",\n".join(FORMATS["json"](view_of(one)).rstrip() for one in outcomes)
        sys.stdout.write(f"[{views}]\n")
        return
    for one in outcomes:
        show(one, form.value, None)


class ConformanceError(CareError):
    """A harness that breaks the protocol."""

    exit_code = 5


@in_scratch
def check_harness(
    *,
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND", help="What starts the harness, in quotes: 'node harness.mjs'."
        ),
    ],
    limit: Annotated[
        float, typer.Option(metavar="SECONDS", min=1.0, help="What one launch may take.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a harness on golden plans and say which rules of the protocol it keeps and breaks.

    docs/harness-protocol.md says all that a harness has to do. The plans need no model: their
    cells do nothing.

    Exit codes: 0 it keeps every rule; 2 wrong arguments; 5 it breaks one.
    """
    from .conformance.render import conclusion, print_result
    from .conformance.run import run_conformance

    with _status() as trying:
        found = run_conformance(_words(command), on_launch=trying, deadline_s=limit)
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        print_result(found, result_console())
    if not found.passed:
        raise ConformanceError(conclusion(found), "docs/harness-protocol.md has the rules")


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """What is being tried, where there is a terminal to say it on."""
    from rich.text import Text

    console = progress_console()
    if not console.is_terminal:
        yield lambda what: None
        return
    with console.status("starting") as status:
        yield lambda what: status.update(Text(f"trying {what}"))


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command}: {error}", "write conformance 'PROGRAM ARGUMENTS'") from error
    return words


APPS: dict[str, typer.Typer] = {
    "show": _app(show_record),
    "import": _app(import_record),
    "conformance": _app(check_harness),
}
"""By the word that stands after `care-bench`."""
