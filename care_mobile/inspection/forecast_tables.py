"""The Neural Engine forecast as tables."""

from __future__ import annotations

from collections import Counter, defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..coreml.compute_plan import Comparison
from ..coreml.forecast import RULES, Forecast, Outlook, Severity
from .text import cell, megabytes

_STYLES = {
    Outlook.EXPECTED: "green",
    Outlook.DOUBTFUL: "yellow",
    Outlook.UNLIKELY: "red",
    Outlook.NEUTRAL: "dim",
}
_COLORS = {Severity.COST: "dim", Severity.DOUBTFUL: "yellow", Severity.UNLIKELY: "red"}
_SOURCES = "ABCDEFGH"


def print_forecast(forecast: Forecast, console: Console) -> None:
    """Outlooks, then what the rules found, then where the rules come from."""
    console.print(_outlooks(forecast))
    console.print(forecast.note, markup=False)
    uncounted = f"; {forecast.uncounted} operations not counted" if forecast.uncounted else ""
    console.print(
        f"Padding the last axis to 64 bytes would add {megabytes(forecast.wasted_bytes)} to all "
        f"values together{uncounted}.",
        markup=False,
    )
    if forecast.findings:
        console.print(_findings(forecast))
        for source, letter in _letters(forecast).items():
            console.print(f"{letter}: {source}", markup=False)


def _outlooks(forecast: Forecast) -> Table:
    table = Table(title="Neural Engine forecast", title_justify="left")
    table.add_column("outlook")
    for column in ("operations", "share of MACs"):
        table.add_column(column, justify="right")
    for outlook, count in forecast.outlooks.items():
        share = forecast.macs_share.get(outlook)
        text = "-" if share is None or outlook is Outlook.NEUTRAL else f"{share:.1%}"
        table.add_row(f"[{_STYLES[outlook]}]{outlook.value}[/]", str(count), text)
    return table


def _letters(forecast: Forecast) -> dict[str, str]:
    """Source -> letter, for the rules that fired."""
    sources = list(dict.fromkeys(rule.source for rule in forecast.rules))
    return dict(zip(sources, _SOURCES, strict=False))


def _findings(forecast: Forecast) -> Table:
    """A row per rule that fired: what it is about, its first finding, and what to do."""
    table = Table(title="Why, and what to do", title_justify="left", show_lines=True)
    for column in ("rule", "severity"):
        table.add_column(column, no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("finding and fix", overflow="fold")
    table.add_column("from", no_wrap=True)
    letters = _letters(forecast)
    counts = Counter(finding.rule for finding in forecast.findings)
    for rule in RULES:
        if not counts[rule.id]:
            continue
        first = next(finding for finding in forecast.findings if finding.rule == rule.id)
        where = f"[dim]for example {cell(first.operation)}: {cell(first.reason)}[/]"
        text = f"{escape(rule.title)}\n{where}\nfix: {escape(rule.fix)}"
        severity = f"[{_COLORS[rule.severity]}]{rule.severity.value}[/]"
        table.add_row(rule.id, severity, str(counts[rule.id]), text, letters[rule.source])
    return table


def print_operations(forecast: Forecast, console: Console) -> None:
    """Every operation with its outlook and the rules that fired."""
    rules: defaultdict[str, list[str]] = defaultdict(list)
    for finding in forecast.findings:
        rules[finding.operation].append(finding.rule.removeprefix("ane-"))
    table = Table(title="Forecast by operation", title_justify="left")
    for column in ("operation", "operator"):
        table.add_column(column, overflow="fold")
    table.add_column("outlook", no_wrap=True)
    table.add_column("MACs", justify="right", no_wrap=True)
    table.add_column("rules, without ane-")
    for operation in forecast.operations:
        table.add_row(
            cell(operation.operation),
            cell(operation.operator),
            f"[{_STYLES[operation.outlook]}]{operation.outlook.value}[/]",
            "unknown" if operation.macs is None else f"{operation.macs:,}",
            ", ".join(rules[operation.operation]),
        )
    console.print(table)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """What Core ML plans on this Mac, and where the forecast was wrong."""
    devices = ", ".join(f"{device.value} {n}" for device, n in comparison.devices.items())
    console.print(f"Core ML's plan on this Mac: {devices}", markup=False)
    console.print(
        f"The forecast came true for {comparison.agreeing} operations and not for "
        f"{len(comparison.differences)}; the plan does not name {len(comparison.unmatched)}.",
        markup=False,
    )
    if not comparison.differences:
        return
    table = Table(title="Where they differ", title_justify="left")
    for column in ("operation", "operator", "forecast", "Core ML prefers"):
        table.add_column(column, overflow="fold")
    for found in comparison.differences:
        table.add_row(
            cell(found.operation),
            cell(found.operator),
            found.forecast.value,
            found.preferred.value,
        )
    console.print(table)
