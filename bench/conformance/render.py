"""The result for a terminal; `ConformanceResult.model_dump_json` is the one for programs."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .results import ConformanceResult, Outcome

_STYLES = {Outcome.KEPT: "green", Outcome.BROKEN: "bold red", Outcome.NOT_RUN: "yellow"}


def print_result(result: ConformanceResult, console: Console) -> None:
    """A row per check, with what the document says and what was seen, and a last sentence."""
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("what docs/harness-protocol.md says, and what was seen", overflow="fold")
    for check in result.checks:
        said = Text(check.clause)
        if check.detail:
            said.append(f"\n{check.detail}", style=_STYLES[check.outcome])
        outcome = Text(check.outcome.value, style=_STYLES[check.outcome])
        table.add_row(Text(check.name), outcome, said)
    console.print(table)
    console.print()
    console.print(Text(conclusion(result), style="bold"))


def conclusion(result: ConformanceResult) -> str:
    """The result in a sentence."""
    counts = {o: sum(check.outcome is o for check in result.checks) for o in Outcome}
    told = result.harness
    name = " ".join(result.command) if told is None else f"{told.name} {told.version}".strip()
    if result.passed:
        return f"{name} keeps the protocol: {len(result.checks)} checks, {result.launches} launches"
    parts = [f"{count} {outcome.value}" for outcome, count in counts.items() if count]
    return f"{name} does not keep the protocol: {', '.join(parts)}, {result.launches} launches"
