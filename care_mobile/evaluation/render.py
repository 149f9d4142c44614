"""An evaluation for people: a table and what must be said beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..bundle import ClassesFrom
from ..inspection.text import one_line
from .results import BundleAccuracy, EvaluationReport, Proportion

_SHOWN = 5
_SAYS: Mapping[ClassesFrom, str] = {
    "--classes": "--classes says which class a folder is",
    "labels": "the bundles' labels say which class a folder is",
    "folder names": "folders sorted by name are the classes in order",
}


def print_report(report: EvaluationReport, console: Console) -> None:
    """Print the table and its notes."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    titles = ["bundle", "runtime", "top-1 %", "95 %", "top-5 %"]
    if report.reference is not None:
        titles += ["same %", "points to reference"]
    for title in titles:
        left = title in ("bundle", "runtime")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    for found in report.bundles:
        table.add_row(*(Text(cell) for cell in _cells(found, report.reference)))
    console.print(table)
    console.print()
    for line in _notes(report):
        console.print(Text(line))


def _cells(found: BundleAccuracy, reference: str | None) -> Iterator[str]:
    yield found.name
    yield found.runtime["runtime"]
    yield _percent(found.top1)
    yield f"{100 * found.top1.low:.2f} to {100 * found.top1.high:.2f}"
    yield "-" if found.top5 is None else _percent(found.top5)
    if found.agreement is not None:
        pair = found.agreement
        yield _percent(pair.same)
        yield (
            f"{100 * pair.difference:+.2f} [{100 * pair.difference_low:+.2f}, "
            f"{100 * pair.difference_high:+.2f}]"
        )
    elif reference is not None:
        yield from ("-", "reference")


def _percent(found: Proportion) -> str:
    return f"{100 * found.share:.2f}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _notes(report: EvaluationReport) -> Iterator[str]:
    data = report.dataset
    drawn = f", drawn with seed {data.seed}" if data.limit is not None else ""
    by = f"; {_SAYS[data.classes_from]}" if data.classes_from else ""
    yield f"{data.name}: {_counted(data.images, 'image')} of {data.classes} classes{drawn}{by}"
    if data.note:
        yield one_line(data.note)
    if data.ignored_files:
        yield f"Passed over: {_counted(data.ignored_files, 'file')} without an image's suffix."
    if data.skipped:
        yield f"Left out: {_counted(len(data.skipped), 'image')} that cannot be read:"
        for image in data.skipped[:_SHOWN]:
            yield f"  {one_line(image.path)}: {one_line(image.reason)}"
        if len(data.skipped) > _SHOWN:
            yield f"  and {len(data.skipped) - _SHOWN} more, listed in the JSON"
    for found in report.bundles:
        if found.nan:
            yield f"{found.name} gives NaN on {_counted(found.nan, 'image')}, counted as wrong."
    for failed in report.failed:
        yield f"Not evaluated: {one_line(failed.path)}: {one_line(failed.reason)}"
    if any(found.random_weights for found in report.bundles):
        yield "Random weights: accuracy says nothing about the network."
    if report.reference is not None:
        yield (
            f"Reference: {report.reference}. Its difference to each other bundle is paired image "
            "by image, with its 95 % interval."
        )
