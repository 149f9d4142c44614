"""`care-doctor`: what is installed, what can be used here, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .errors import MissingDependencyError
from .terminal import in_scratch, progress_console, result_console, run_command

if TYPE_CHECKING:
    from rich.table import Table

    from .diagnosis import Diagnosis

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@in_scratch
def care_doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say which targets, runtimes and devices can be used here, and what the others need."""
    _check_base()
    from .diagnosis import diagnose

    waiting = progress_console()
    if waiting.is_terminal:
        with waiting.status("looking at this machine") as status:
            diagnosis = diagnose(
                lambda what, done, total: status.update(f"{done + 1} of {total}: {what}")
            )
    else:
        diagnosis = diagnose()
    if as_json:
        typer.echo(diagnosis.model_dump_json(indent=2))
        return
    console = result_console()
    python = diagnosis.tools["python"]
    machine = f"{diagnosis.system}, {diagnosis.processors} processors, Python {python}"
    console.print(machine, markup=False)
    console.print(_package_table(diagnosis))
    console.print(_ability_table(diagnosis))
    if any(not package.fits for package in diagnosis.packages):
        remedy = "To install what exporting needs: pip install 'care-mobile[export]'"
        console.print(remedy, markup=False)  # [export] is no style


def _check_base() -> None:
    """Raise a MissingDependencyError if what this very command imports cannot be imported."""
    from .importing import try_import

    problem = try_import(("pydantic", "numpy", "psutil", "care_mobile.diagnosis"))
    if problem:
        raise MissingDependencyError(problem, "pip install --force-reinstall care-mobile")


def _package_table(diagnosis: Diagnosis) -> Table:
    from rich.table import Table

    table = Table(title="Packages", title_justify="left")
    for column in ("package", "installed", "wanted"):
        table.add_column(column)
    for package in diagnosis.packages:
        style = "green" if package.fits else "red"
        table.add_row(package.name, f"[{style}]{package.installed or 'missing'}[/]", package.wanted)
    return table


def _ability_table(diagnosis: Diagnosis) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Usable here", title_justify="left")
    for column in ("kind", "name", "usable", "detail", "what to do"):
        table.add_column(column)
    for ability in diagnosis.abilities:
        usable = "[green]yes[/]" if ability.usable else "[yellow]no[/]"
        detail, remedy = escape(ability.detail), escape(ability.remedy)
        table.add_row(ability.kind, ability.name, usable, detail, remedy)
    return table


def main() -> None:
    """Entry point of `care-doctor`."""
    run_command(app)
