"""Documents from results: nothing in them is written by hand but the words around the numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from care_mobile.errors import OutputError, UsageError
from care_mobile.evaluation.results import BundleAccuracy
from care_mobile.export.parity import ORDINARY
from care_mobile.frozen import Frozen

from .accuracy import Case, Precisions
from .control_results import Control
from .results import Comparison, Contest, Contestant, Figure, Ratio, Role, Verdict

_NAMED = 6
"""Operators named where a figure is not reached."""
_LEAST_SHARE = 0.01
"""Operators below this share of the network's time go into one row."""


class OperatorRow(NamedTuple):
    """One kind of operator: (nodes, milliseconds) per bundle, None where it has none."""

    operator: str
    cells: tuple[tuple[int, float] | None, ...]


def performance(found: Comparison) -> str:
    """`docs/performance.md`."""
    return _render("performance.md", found)


def write(folder: Path, stem: str, document: str, found: Frozen) -> Path:
    """Write `stem`.md and the results beside it as JSON; returns the document's path.

    Raises:
        OutputError: if the disk refuses.
    """
    path = folder / f"{stem}.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = found.model_dump_json(indent=1) + "\n"
        (folder / f"{stem}.json").write_text(text, encoding="utf-8")
        path.write_text(document, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose another --output"
        ) from error
    return path


def times(found: Ratio) -> str:
    """`1.31 (1.29 to 1.33)`."""
    if found.low is None or found.high is None or found.low == found.high:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def cell(figure: Figure) -> str:
    """Value and verdict."""
    if figure.value is None:
        return figure.verdict.value
    shown = {"count": f"{figure.value.value:.0f}", "percent": f"{figure.value.value:.0f} %"}
    return f"{shown.get(figure.unit) or times(figure.value)}: {figure.verdict.value}"


def operator_rows(contestants: list[Contestant]) -> list[OperatorRow]:
    """Operators by time in the first bundle, then those only others have; small ones last."""
    total = sum(time.ms for time in contestants[0].operators)
    tables = [{time.operator: time for time in c.operators} for c in contestants]
    kinds = list(dict.fromkeys(kind for table in tables for kind in table))
    rare = {
        kind
        for kind in kinds
        if all(table[kind].ms < _LEAST_SHARE * total for table in tables if kind in table)
    }
    rows = [
        OperatorRow(kind, tuple((t[kind].nodes, t[kind].ms) if kind in t else None for t in tables))
        for kind in kinds
        if kind not in rare
    ]
    rest = tuple(
        (sum(t[k].nodes for k in rare if k in t), sum(t[k].ms for k in rare if k in t))
        for t in tables
    )
    return [*rows, OperatorRow(f"{len(rare)} others", rest)] if rare else rows


def profiled(entered: Contest) -> list[Contestant]:
    """Ours in all precisions, then the best naive export and the bound."""
    ours = [c for c in entered.contestants if c.role is Role.OURS]
    parts = [c for c in entered.contestants if c.role is Role.PART]
    return [*ours, entered.best_naive(), *parts]


def census_rows(contestants: list[Contestant]) -> list[tuple[str, list[int]]]:
    """Operators by their highest count in any bundle, with the count in each."""
    names = {name for c in contestants for name in c.census}
    rows = [(name, [c.census.get(name, 0) for c in contestants]) for name in names]
    return sorted(rows, key=lambda row: (-max(row[1]), row[0]))


def reasons(found: Comparison) -> list[str]:
    """Per missed or uncertain figure, what takes most of the time of the bundle it is about."""
    lines = []
    for entered in found.contests:
        for figure in entered.figures:
            if figure.verdict in (Verdict.MISSED, Verdict.UNCERTAIN) and figure.unit == "times":
                precision = figure.title.partition(":")[0]
                shares = _shares(entered, precision)
                lines.append(f"{entered.model}, {entered.target}, {figure.title}: {shares}.")
    return lines


def _shares(entered: Contest, precision: str) -> str:
    ours = entered.ours(precision)
    assert ours is not None
    total = sum(time.ms for time in ours.operators)
    if total > 0:
        parts = [(time.operator, time.ms / total) for time in ours.operators[:_NAMED]]
        rest = f", all else {1.0 - sum(share for _, share in parts):.0%}"
    elif precision == "fp32":
        alone = [c for c in entered.contestants if c.role is Role.PART]
        parts = [(f"{c.summary} alone", c.to_ours.value) for c in alone]
        rest = ""
    else:
        return f"{ours.latency.median_ms:.2f} ms; by operator only counts are known"
    named = ", ".join(f"{name} {share:.0%}" for name, share in parts)
    return f"{ours.latency.median_ms:.2f} ms; {named}{rest}"


def precision(found: Precisions) -> str:
    """`docs/precision.md`."""
    return _render("precision.md", found)


def trained_table(found: Precisions) -> str:
    """Latency, size and accuracy of the trained network, for the README."""
    return _render("trained.md", found)


def control(found: Control) -> str:
    """The document of A/A sessions."""
    return _render("control.md", found)


def control_section(found: Control) -> str:
    """What of it stands in `docs/measuring.md`."""
    return _render("control_section.md", found)


def ratio_of(log_ratio: float | None) -> str:
    """`1.003`."""
    return "-" if log_ratio is None else f"{math.exp(log_ratio):.3f}"


def marks(command: str) -> tuple[str, str]:
    """Between which a Markdown file holds what a command writes there."""
    return f"<!-- make {command}: begin -->", f"<!-- make {command}: end -->"


def place_of_table(path: Path, command: str = "precision") -> tuple[str, str]:
    """What stands before and after the table in a Markdown file, the two marks included.

    Raises:
        UsageError: if the file cannot be read or lacks the marks.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}", "name a Markdown file") from error
    begins, ends = marks(command)
    before, begin, rest = text.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise UsageError(f"{path} has no place for the table", f"add {begins} {ends}")
    return before + begin, end + after


def renew_table(path: Path, table: str, command: str = "precision") -> None:
    """Put `table` in its place in a Markdown file.

    Raises:
        UsageError: if the file cannot be read or has no place for it.
        OutputError: if the disk refuses.
    """
    before, after = place_of_table(path, command)
    try:
        path.write_text(f"{before}\n{table}{after}", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "choose another") from error


def share(case: Case, cases: list[Case]) -> str:
    """Its size in percent of the same target's fp32."""
    full = (c for c in cases if c.target == case.target and c.precision == "fp32")
    base = next(full, None)
    if base is None or not base.size_bytes or not case.size_bytes:
        return ""
    return f"{case.size_bytes / base.size_bytes:.0%}"


def milliseconds(case: Case) -> str:
    """Its median latency."""
    return f"{case.latency.median_ms:.2f}" if case.latency else ""


def of_full(case: Case) -> str:
    """Its latency in latencies of the same target's fp32."""
    if case.to_full is None or case.precision == "fp32":
        return ""
    return times(case.to_full)


def decibels(case: Case, probes: str) -> str:
    """PSNR on one probe set."""
    return f"{case.psnr_db[probes]:.1f}" if probes in case.psnr_db else ""


def worst(case: Case) -> str:
    """PSNR on the worst ordinary probe set."""
    found = [value for name, value in case.psnr_db.items() if name in ORDINARY]
    return f"{min(found):.1f}" if found else ""


def accuracy(found: BundleAccuracy) -> str:
    """Cells: top-1 in percent, its interval, points against the reference, agreement."""
    top1, compared = found.top1, found.agreement
    cells = [f"{100 * top1.share:.1f}", f"{100 * top1.low:.1f} to {100 * top1.high:.1f}"]
    if compared is None:
        return " | ".join([*cells, points(found), ""])
    return " | ".join([*cells, points(found), f"{100 * compared.same.share:.1f} %"])


def points(found: BundleAccuracy) -> str:
    """Top-1 in percent minus the reference's, with its interval."""
    compared = found.agreement
    if compared is None:
        return "reference"
    value, low, high = (
        100 * share
        for share in (compared.difference, compared.difference_low, compared.difference_high)
    )
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _render(template: str, found: Frozen) -> str:
    text = _environment().get_template(template).render(found=found)
    # Where a template's condition does not hold, blank lines meet.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tools: dict[str, Any] = {
        "times": times,
        "cell": cell,
        "operator_rows": operator_rows,
        "profiled": profiled,
        "census_rows": census_rows,
        "reasons": reasons,
        "share": share,
        "points": points,
        "milliseconds": milliseconds,
        "of_full": of_full,
        "decibels": decibels,
        "worst": worst,
        "accuracy": accuracy,
        "ratio_of": ratio_of,
        "Role": Role,
    }
    environment.globals |= tools
    return environment
