"""What a command prints of a record, in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from care_mobile.errors import OutputError
from care_mobile.files import write_whole
from care_mobile.requirements import Availability
from care_mobile.selection import PassedOver
from care_mobile.terminal import result_console

from ..protocol.record import Session
from .derive import session_view
from .markdown import markdown
from .table_csv import table_csv
from .terminal import print_view
from .view import SessionView, SkippedView


class LeftOut(Protocol):
    """What the device cannot run, and why."""

    @property
    def path(self) -> Path: ...
    @property
    def reason(self) -> Availability: ...


class Outcome(Protocol):
    """A record and what its caller knows beside it."""

    @property
    def session(self) -> Session: ...
    @property
    def file(self) -> Path: ...
    @property
    def skipped(self) -> Sequence[LeftOut]: ...
    @property
    def passed_over(self) -> Sequence[PassedOver]: ...


FORMATS: dict[str, Callable[[SessionView], str]] = {
    "json": lambda view: view.model_dump_json(indent=2) + "\n",
    "markdown": markdown,
    "csv": table_csv,
}
"""Beside `table`, which is for a console."""


def view_of(outcome: Outcome) -> SessionView:
    """The view of what a command found."""
    return session_view(
        outcome.session,
        record=str(outcome.file),
        skipped=[
            SkippedView(
                name=found.path.name, reason=found.reason.detail, remedy=found.reason.remedy
            )
            for found in outcome.skipped
        ],
        passed_over=[
            SkippedView(name=found.path, reason=found.reason) for found in outcome.passed_over
        ],
    )


def show(outcome: Outcome, form: str, plot: Path | None) -> None:
    """Print the result to standard output, and draw it if asked.

    Raises:
        OutputError: if the picture cannot be written; what is printed is printed.
        MissingDependencyError: if matplotlib is missing.
    """
    view = view_of(outcome)
    if form in FORMATS:
        sys.stdout.write(FORMATS[form](view))
    else:
        print_view(view, result_console())
    sys.stdout.flush()
    if plot is not None:
        write_plot(view, plot)


def write_plot(view: SessionView, file: Path) -> None:
    """Draw into a file, which appears whole or not at all.

    Raises:
        OutputError: if the disk refuses.
        MissingDependencyError: if matplotlib is missing.
    """
    from .plot import picture

    drawn = picture(view, file.suffix)
    try:
        write_whole(file, drawn)
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror}", "choose another --plot"
        ) from error
