"""Options that several commands have. Nothing here imports what `--help` does not need."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from care_mobile.errors import UsageError
from care_mobile.given import given


class Format(str, Enum):
    """Of the result on standard output."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    CSV = "csv"


FormatOption: TypeAlias = Annotated[
    Format, typer.Option("--format", help="How to print the result.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
PlotOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw rounds and ratios: .png, .svg or .pdf."),
]


def chosen_format(context: typer.Context, form: Format, as_json: bool) -> Format:
    """What --format and --json say together.

    Raises:
        UsageError: if they contradict each other.
    """
    if as_json and "form" in given(context) and form is not Format.JSON:
        raise UsageError(f"--json and --format {form.value} contradict", "leave one of the two out")
    return Format.JSON if as_json else form


def check_plot(file: Path | None) -> None:
    """Whether a picture could be drawn, before minutes of measuring.

    Raises:
        UsageError: for a file that cannot be one.
        MissingDependencyError: if matplotlib is missing.
    """
    if file is not None:
        from .report import plot

        plot.check_plot(file)
