"""Inspections as text for people, no wider than 100 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ..agreement import MAX_DB
from ..divergence import Divergence
from ..half_precision import OperationDivergence
from .forecast_tables import print_comparison, print_forecast, print_operations
from .results import CoreMLFacts, ExecuTorchFacts, Inspection, OnnxFacts, Port
from .text import amount, cell, megabytes, one_line

_WIDTH = 100
_LONGEST_NOTE = 600


def print_inspection(found: Inspection, console: Console, operations: bool = False) -> None:
    """Print everything; `operations` adds the forecast of each operation."""
    console.width = min(console.width, _WIDTH)
    where = f"{found.bundle}/{found.name}" if found.bundle else found.name
    size = megabytes(found.size_bytes)
    console.print(f"{one_line(where)}: {_kind(found)}, {size}", markup=False)
    for line in _bundle(found):
        console.print(line, markup=False)
    console.print(_totals(found), markup=False)
    for line in _details(found):
        console.print(line, markup=False)
    if found.inputs or found.outputs:
        console.print(_ports(found))
    if found.parts:
        console.print(_parts(found))
    console.print(_census(found))
    if found.layers:
        console.print(_layers(found))
    if found.forecast is not None:
        print_forecast(found.forecast, console)
        if operations:
            print_operations(found.forecast, console)
    if found.comparison is not None:
        print_comparison(found.comparison, console)
    if found.divergence is not None:
        console.print(divergence_table(found.divergence))
        console.print(first_below(found.divergence), markup=False)


def _bundle(found: Inspection) -> list[str]:
    facts = found.bundle_facts
    if facts is None:
        return []
    carried = ", ".join(map(one_line, facts.probes)) or "none: answers cannot be judged"
    lines = [f"content {facts.content_sha256}", f"probes: {carried}"]
    return lines + [
        f"not among the probes: {one_line(name)}: {one_line(why, _LONGEST_NOTE)}"
        for name, why in facts.probes_left_out.items()
    ]


def _kind(found: Inspection) -> str:
    facts = found.facts
    if isinstance(facts, CoreMLFacts):
        return _coreml(facts)
    if isinstance(facts, OnnxFacts):
        opsets = ", ".join(f"{one_line(k)} {version}" for k, version in facts.opsets.items())
        return f"ONNX model (opset {opsets}; IR {facts.ir_version})"
    shown = _chosen("method", facts.shown or ", ".join(facts.methods), facts.methods)
    return f"ExecuTorch program ({shown})"


def _coreml(facts: CoreMLFacts) -> str:
    kind = {"mlProgram": "program"}.get(facts.kind, facts.kind)
    compiled = "compiled " if facts.compiled else ""
    since = f"iOS {facts.ios} and later" if facts.ios else ""
    about = [f"specification {facts.specification}", facts.opset, since]
    if facts.shown != "main" or len(facts.functions) > 1:
        about.append(_chosen("function", facts.shown, facts.functions) if facts.shown else "")
    return f"{compiled}Core ML {kind} ({', '.join(map(one_line, filter(None, about)))})"


def _chosen(kind: str, shown: str, names: Sequence[str]) -> str:
    """Which one is shown, and what else there is."""
    if len(names) < 2:
        return f"{kind} {one_line(shown)}"
    others = ", ".join(one_line(name) for name in names if name != shown)
    return f"{kind} {one_line(shown)}, one of {len(names)}; --{kind} shows {others}"


def _totals(found: Inspection) -> str:
    operations = f"{'at least ' if found.operations_at_least else ''}{found.operations}"
    parameters = _noted(found.parameters, found.parameters_at_least, found.parameters_note)
    macs = _noted(found.macs, found.macs_at_least, found.macs_note)
    types = ", ".join(
        f"{one_line(dtype)} {megabytes(n)}" for dtype, n in found.bytes_by_type.items()
    )
    nothing = "unknown" if found.parameters_at_least else "none"
    return (
        f"{operations} operations, {parameters[0]} parameters{parameters[1]}, "
        f"{macs[0]} multiply-accumulates{macs[1]}\nweights: {types or nothing}"
    )


def _noted(count: int | None, at_least: bool, note: str) -> tuple[str, str]:
    return amount(count, at_least), f" ({one_line(note, _LONGEST_NOTE)})" if note else ""


def _details(found: Inspection) -> list[str]:
    facts = found.facts
    if isinstance(facts, CoreMLFacts):
        source = facts.metadata.get("com.github.apple.coremltools.source")
        texts = [facts.metadata.get("description"), f"from {source}" if source else None]
        return [one_line("; ".join(text for text in texts if text))] if any(texts) else []
    if isinstance(facts, OnnxFacts):
        lines = [f"written by {one_line(facts.producer)}"] if facts.producer else []
        files = ", ".join(map(one_line, facts.external_files))
        return lines + ([f"weights beside it in {files}"] if files else [])
    return _delegation(facts)


def _delegation(facts: ExecuTorchFacts) -> list[str]:
    lines = []
    for delegate in facts.delegates:
        inside = "" if delegate.operations is None else f", {delegate.operations} operations inside"
        plural = "s" if delegate.partitions > 1 else ""
        lines.append(f"{delegate.backend}: {delegate.partitions} partition{plural}{inside}")
    names = [f"{name} ({n})" if n > 1 else name for name, n in facts.outside.items()]
    return [*lines, f"outside any backend: {', '.join(names) or 'nothing'}"]


def _ports(found: Inspection) -> Table:
    table = Table(title="Inputs and outputs", title_justify="left")
    for column in ("", "name", "kind", "type", "shape"):
        table.add_column(column, overflow="fold")
    for direction, ports in (("input", found.inputs), ("output", found.outputs)):
        for port in ports:
            table.add_row(direction, cell(port.name), port.kind, cell(port.dtype), _shape(port))
    return table


def _shape(port: Port) -> str:
    if port.shape is None:
        return "unknown"
    sizes = " x ".join(cell("?" if n is None else str(n)) for n in port.shape) or "scalar"
    if not port.flexible:
        return sizes
    return f"{sizes}, flexible: {cell(port.accepts)}" if port.accepts else f"{sizes}, flexible"


def _parts(found: Inspection) -> Table:
    """The parts of a pipeline, one a line."""
    table = Table(title="Parts", title_justify="left")
    for column in ("part", "kind"):
        table.add_column(column, overflow="fold")
    for column in ("operations", "parameters", "MACs"):
        table.add_column(column, justify="right")
    for part in found.parts:
        kind = part.facts.kind if isinstance(part.facts, CoreMLFacts) else part.facts.format
        table.add_row(
            cell(part.name),
            cell(kind),
            f"{'at least ' if part.operations_at_least else ''}{part.operations}",
            amount(part.parameters, part.parameters_at_least),
            amount(part.macs, part.macs_at_least),
        )
    return table


def _census(found: Inspection) -> Table:
    """Three operators a line: a list of one column is long and empty."""
    table = Table(title="Operations", title_justify="left", show_header=False)
    items = list(found.census.items())
    lines = -(-len(items) // 3)
    for _ in range(3):
        table.add_column(overflow="fold")
        table.add_column(justify="right")
    for line in range(lines):
        cells: list[str] = []
        for name, count in items[line::lines]:
            cells += [cell(name), str(count)]
        table.add_row(*cells)
    return table


def _layers(found: Inspection) -> Table:
    table = Table(title="Largest layers", title_justify="left")
    table.add_column("layer", overflow="fold")
    table.add_column("operator", overflow="fold")
    for column in ("size", "parameters", "MACs"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in found.layers:
        table.add_row(
            cell(layer.name),
            cell(layer.operator),
            megabytes(layer.bytes),
            amount(layer.parameters),
            amount(layer.macs),
        )
    return table


def divergence_table(found: Divergence) -> Table:
    """The operations that do the most damage."""
    table = Table(
        title=f"{cell(found.other)} against {cell(found.reference)}: the worst operations",
        title_justify="left",
    )
    table.add_column("operation", overflow="fold")
    for column in ("alone", "so far", "largest", "over", "subnormal", "zeroed", "NaN"):
        table.add_column(column, justify="right")
    for entry in found.worst():
        counts = (entry.overflows, entry.subnormals, entry.underflows, entry.nans)
        table.add_row(
            f"{cell(entry.operator)} {cell(entry.operation)}",
            "-" if entry.alone_psnr_db is None else _agreement(entry.alone_psnr_db, entry),
            _agreement(entry.psnr_db, entry),
            f"{entry.largest:.3g}",
            *map(str, counts),
        )
    return table


def _agreement(psnr_db: float, entry: OperationDivergence) -> str:
    """Decibels in words at the ends of their scale."""
    if psnr_db >= MAX_DB:
        return "equal"
    if psnr_db <= -MAX_DB:
        return "not finite" if entry.overflows or entry.nans else "no agreement"
    return f"{psnr_db:.1f} dB"


def first_below(found: Divergence) -> str:
    """Where a run leaves the reference."""
    count = len(found.operations)
    if found.first is None:
        return f"All {count} operations stay above {found.limit_db:.0f} dB. Input: noise."
    place = found.operations.index(found.first) + 1
    where = f"{found.first.operator} {one_line(found.first.operation)}"
    return (
        f"From {where} on, operation {place} of {count}, results fall below "
        f"{found.limit_db:.0f} dB. Input: noise."
    )
