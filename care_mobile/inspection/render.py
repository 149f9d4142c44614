"""Inspections as text for people, no wider than 100 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..runtimes.interpreter.divergence import Divergence
from .forecast_tables import print_comparison, print_forecast, print_operations
from .results import CoreMLFacts, ExecuTorchFacts, Inspection, OnnxFacts, Port
from .text import amount, cell, megabytes, one_line

_WIDTH = 100


def print_inspection(found: Inspection, console: Console, operations: bool = False) -> None:
    """Print everything; `operations` adds the forecast of each operation."""
    console.width = min(console.width, _WIDTH)
    where = f"{found.bundle}/{found.name}" if found.bundle else found.name
    console.print(f"{where}: {_kind(found)}, {megabytes(found.size_bytes)}", markup=False)
    console.print(_totals(found), markup=False)
    for line in _details(found):
        console.print(line, markup=False)
    console.print(_ports(found))
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
        console.print(_divergence(found.divergence))
        console.print(_first(found.divergence), markup=False)


def _kind(found: Inspection) -> str:
    facts = found.facts
    if isinstance(facts, CoreMLFacts):
        since = f", iOS {facts.ios} and later" if facts.ios else ""
        return f"Core ML program (specification {facts.specification}, {facts.opset}{since})"
    if isinstance(facts, OnnxFacts):
        opsets = ", ".join(f"{domain} {version}" for domain, version in facts.opsets.items())
        return f"ONNX model (opset {opsets}; IR {facts.ir_version})"
    return f"ExecuTorch program (method {', '.join(facts.methods)})"


def _totals(found: Inspection) -> str:
    parameters, macs = amount(found.parameters), amount(found.macs)
    note = f" ({found.macs_note})" if found.macs_note else ""
    types = ", ".join(f"{dtype} {megabytes(n)}" for dtype, n in found.bytes_by_type.items())
    return (
        f"{found.operations} operations, {parameters} parameters, "
        f"{macs} multiply-accumulates{note}\nweights: {types or 'none'}"
    )


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
    return f"{sizes}, flexible" if port.flexible else sizes


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


def _divergence(found: Divergence) -> Table:
    table = Table(
        title=f"{cell(found.other)} against {cell(found.reference)}: the worst operations",
        title_justify="left",
    )
    table.add_column("operation", overflow="fold")
    for column in ("alone dB", "so far dB", "largest", "over", "subnormal", "zeroed", "NaN"):
        table.add_column(column, justify="right")
    for entry in found.worst():
        alone = entry.alone_psnr_db
        counts = (entry.overflows, entry.subnormals, entry.underflows, entry.nans)
        table.add_row(
            f"{cell(entry.operator)} {cell(entry.operation)}",
            "-" if alone is None else f"{alone:.1f}",
            f"{entry.psnr_db:.1f}",
            f"{entry.largest:.3g}",
            *map(str, counts),
        )
    return table


def _first(found: Divergence) -> str:
    count = len(found.operations)
    if found.first is None:
        return f"None of {count} operations falls below {found.limit_db:.0f} dB. Input: noise."
    where = f"{found.first.operator} {one_line(found.first.operation)}"
    return (
        f"The first of {count} operations below {found.limit_db:.0f} dB is {where}. Input: noise."
    )
