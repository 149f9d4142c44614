"""A session's results for people: a table and what must be said beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .record import Outcome, RecordKind
from .results import BenchResult, ResultRow
from .stats import PairedRatio

_RIGHT = ("#", "median ms", "p10", "p90", "min", "samples", "size", "vs fastest")


def print_results(result: BenchResult, console: Console) -> None:
    """Print the table and its notes."""
    labels = _labels(result.rows)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in ("#", "bundle", "runtime", *_RIGHT[1:]):
        table.add_column(title, justify="right" if title in _RIGHT else "left", overflow="fold")
    for row, label in zip(result.rows, labels, strict=True):
        table.add_row(*(Text(cell) for cell in _cells(row, label)))
    console.print(table)
    console.print()
    for line in _notes(result, labels):
        console.print(Text(line))


def _labels(rows: tuple[ResultRow, ...]) -> list[str]:
    """Names; paths where two bundles have one name; numbered where one was given twice."""
    names = Counter(row.bundle.name for row in rows)
    paths = Counter(row.path for row in rows)
    labels = []
    for row in rows:
        label = row.bundle.name if names[row.bundle.name] == 1 else row.path
        labels.append(label if paths[row.path] == 1 else f"{label} ({row.index + 1})")
    return labels


def _cells(row: ResultRow, label: str) -> Iterator[str]:
    yield "-" if row.rank is None else str(row.rank)
    yield label
    yield row.runtime.name
    if row.latency is None:
        yield "functional" if row.outcome is Outcome.COMPLETED else row.outcome.value
        yield from ("-",) * 4
    else:
        found = row.latency
        for value_ns in (found.median_ns, found.p10_ns, found.p90_ns, found.minimum_ns):
            yield f"{value_ns / 1e6:.3f}"
        yield str(found.count)
    yield _size(row.bundle.size_bytes)
    yield _ratio(row.ratio_to_fastest, row.rank == 1)


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return f"{size_bytes} B"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB"


def _ratio(found: PairedRatio | None, fastest: bool) -> str:
    if found is None:
        return "-"
    if fastest or found.low is None or found.high is None:
        return f"{found.ratio:.2f}x"
    return f"{found.ratio:.2f}x [{found.low:.2f}, {found.high:.2f}]"


def _notes(result: BenchResult, labels: list[str]) -> Iterator[str]:
    rows = result.rows
    machine = result.machine
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    yield (
        f"{machine.device}: {machine.soc}, {cores}"
        f"{', virtual machine' * bool(machine.virtualised)}, {machine.os}"
        f"{_pinned(rows)}; {_threads(rows)}{result.blocks} interleaved blocks, seed {result.seed}"
    )
    if sum(row.latency is not None for row in rows) > 1:
        yield "vs fastest: paired block by block, with its 95 % interval."
    if any(row.bundle.random_weights for row in rows):
        yield "Random weights: these figures measure speed, never accuracy."
    if machine.device == "desktop":
        yield "Desktop figures compare bundles on this machine; they are not a phone's."
    yield from _reasons(rows, labels)
    yield from _warnings(rows, labels)
    for skipped in result.skipped:
        yield f"skipped: {Path(skipped.path).name}: {skipped.reason}; try: {skipped.remedy}"
    if all(row.kind is RecordKind.FUNCTIONAL for row in rows):
        yield "Functional run: it shows that bundles run, not how fast."
    yield f"Records: {Path(rows[0].record).parent}"


def _reasons(rows: tuple[ResultRow, ...], labels: list[str]) -> Iterator[str]:
    for row, label in zip(rows, labels, strict=True):
        if row.reason:
            reason = row.reason.removeprefix(f"{row.bundle.name}: ")
            yield f"{row.outcome.value}: {label}: {reason}"


def _warnings(rows: tuple[ResultRow, ...], labels: list[str]) -> Iterator[str]:
    """Each warning once, with the bundles it is about."""
    about: dict[str, list[str]] = {}
    for row, label in zip(rows, labels, strict=True):
        for warning in row.warnings:
            about.setdefault(f"{warning.code.value}: {warning.detail}", []).append(label)
    for text, bundles in about.items():
        whose = "all bundles" if 1 < len(bundles) == len(rows) else ", ".join(bundles)
        yield f"warning: {whose}: {text}"


def _threads(rows: tuple[ResultRow, ...]) -> str:
    """One plan, one number; a runtime that cannot tell says nothing."""
    told = {row.runtime.threads for row in rows} - {None}
    return "".join(f"{count} thread{'s' * (count != 1)}, " for count in sorted(filter(None, told)))


def _pinned(rows: tuple[ResultRow, ...]) -> str:
    cpus = rows[0].runtime.affinity
    return f", on cpu {','.join(map(str, cpus))}" if cpus else ""
