"""The result for a terminal: tables, what must be said beside them, and one sentence at the end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .columns import NAME, NEEDED, Column, shared, tables
from .view import SessionView
from .words import caveats, circumstances, headline, legend, remarks

LEAST_NAME = 16
"""Columns of a terminal that a name keeps; longer ones are folded."""
_GAP = 2
_STYLES = {"invalid": "bold red", "warning": "yellow", "info": ""}


def print_view(view: SessionView, console: Console) -> None:
    """Print the tables, the notes and the conclusion."""
    title = headline(view)
    if title is not None:
        console.print(Text(title, style="bold yellow"))
        console.print()
    left_out: list[str] = []
    for columns in tables(view):
        for part in parted(columns, console.width, left_out):
            console.print(_table(part, console.width))
            console.print()
    for line in _lines(view, left_out):
        console.print(line)
    console.print()
    console.print(Text(view.conclusion.text, style="bold"))


def parted(columns: list[Column], width: int, left_out: list[str]) -> Iterator[list[Column]]:
    """The columns as tables that fit a terminal of this width; figures are never cut.

    Titles of what is left out are added to `left_out`.
    """
    shown, rest = list(columns), list[Column]()
    while _width(shown) > width:
        last = min(column.keep for column in shown)
        if last >= 100:
            break
        found = next(column for column in shown if column.keep == last)
        shown.remove(found)
        rest.append(found)
    yield shown
    left_out += [column.title for column in columns if column in rest and column.keep < NEEDED]
    below = [c for c in columns if (c in rest and c.keep >= NEEDED) or c.title == NAME]
    if len(below) > 1 and len(below) < len(columns):
        yield from parted(below, width, left_out)


def _width(columns: list[Column]) -> int:
    return sum(map(_least_width, columns)) + _GAP * (len(columns) - 1)


def _least_width(column: Column) -> int:
    widest = _widest(column)
    return min(widest, LEAST_NAME) if column.title == NAME else widest


def _widest(column: Column) -> int:
    return max(map(cell_len, (column.title, *column.cells)))


def _table(columns: list[Column], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    spare = max(width - _width(columns), 0)
    for column in columns:
        least = _least_width(column)
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            overflow="fold",
            width=min(_widest(column), least + spare) if column.title == NAME else least,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return table


def _style(cell: str) -> str:
    return "red" if cell.startswith(("invalid", "failed", "WRONG")) else ""


def _lines(view: SessionView, left_out: list[str]) -> list[Text]:
    plain = [*circumstances(view), shared(view), *legend(view), *caveats(view)]
    lines = [Text(line) for line in plain if line]
    for remark in remarks(view):
        prefix = "" if remark.level == "info" else f"{remark.level}: "
        lines.append(Text.assemble((prefix, _STYLES[remark.level]), remark.text))
    if left_out:
        lines.append(Text(f"No room for: {', '.join(left_out)}; a wider terminal or --json."))
    if view.record is not None:
        lines.append(Text(f"Record: {view.record}"))
    return lines
