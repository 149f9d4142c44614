"""How fast the interpreter runs a package here, and how much memory it takes.

`python -m care_mobile.runtimes.interpreter.benchmark MODEL.mlpackage`, on one core::

    taskset -c 0 env OMP_NUM_THREADS=1 python -m care_mobile.runtimes.interpreter.benchmark …

The modes run interleaved. Memory is the peak of what numpy allocates during one run (mapped
weights are not allocated), beside what the design allows: three times the weights plus the two
largest activations.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from ...coreml import Constant, MLPackage, TensorType, open_package
from ...coreml.types import BITS
from ...frozen import Frozen
from ...terminal import progress_console, result_console, run_command
from .executor import Interpreter
from .numerics import AnyArray, Numerics

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Report(Frozen):
    """Seconds per run and mode (all of them), bytes, and declared-mode seconds by operator."""

    package: str
    operations: int
    seconds: dict[str, list[float]]
    peak_bytes: dict[str, int]
    weight_bytes: int
    allowed_bytes: int
    seconds_by_operator: dict[str, float]


@app.command()
def benchmark(
    package: Annotated[Path, typer.Argument(help="A .mlpackage folder.")],
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs per mode, interleaved.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the input, noise of unit variance.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time and memory of the interpreter on a package."""
    report = time_interpreter(open_package(package), rounds, seed)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _show(report)


def time_interpreter(package: MLPackage, rounds: int, seed: int) -> Report:
    """Time every mode `rounds` times after one warm-up, then trace memory once per mode.

    Raises:
        RuntimeFailure: if the package cannot be run.
    """
    rng = np.random.default_rng(seed)
    inputs = {named.name: _noise(named.type, rng) for named in package.main.inputs}
    interpreters = {numerics.value: Interpreter(package, numerics) for numerics in Numerics}
    seconds: dict[str, list[float]] = {name: [] for name in interpreters}
    for interpreter in interpreters.values():
        interpreter.run(inputs)
    for _ in track(range(rounds), "timing", console=progress_console(), transient=True):
        for name, interpreter in interpreters.items():
            started = time.perf_counter()
            interpreter.run(inputs)
            seconds[name].append(time.perf_counter() - started)
    weights = _weight_bytes(package)
    return Report(
        package=package.path.name,
        operations=len(package.main.operations),
        seconds=seconds,
        peak_bytes={name: _peak(i, inputs) for name, i in interpreters.items()},
        weight_bytes=weights,
        allowed_bytes=3 * weights + sum(_activations(package)[:2]),
        seconds_by_operator=_by_operator(interpreters["declared"], inputs),
    )


def _noise(kind: object, rng: np.random.Generator) -> AnyArray:
    shape = [n or 1 for n in kind.shape or ()] if isinstance(kind, TensorType) else []
    return rng.standard_normal(shape).astype(np.float32)


def _peak(interpreter: Interpreter, inputs: dict[str, AnyArray]) -> int:
    tracemalloc.start()
    try:
        interpreter.run(inputs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _weight_bytes(package: MLPackage) -> int:
    constants = {
        operand.name: operand.stored_bytes
        for operation in package.main.operations
        for operand in operation.operands()
        if isinstance(operand, Constant)
    }
    return sum(constants.values())


def _activations(package: MLPackage) -> list[int]:
    """Bytes of every activation in its declared type, largest first."""
    sizes = []
    for kind in package.main.types().values():
        if isinstance(kind, TensorType) and kind.shape is not None and kind.dtype in BITS:
            elements = int(np.prod([n or 1 for n in kind.shape], dtype=np.int64))
            sizes.append(elements * BITS[kind.dtype] // 8)
    return sorted(sizes, reverse=True)


def _by_operator(interpreter: Interpreter, inputs: dict[str, AnyArray]) -> dict[str, float]:
    spent: Counter[str] = Counter()
    last = time.perf_counter()
    for step in interpreter.steps(inputs):
        now = time.perf_counter()
        spent[step.operation.type] += now - last  # type: ignore[assignment]  # a Counter of floats
        last = time.perf_counter()
    return dict(spent.most_common())


def _show(report: Report) -> None:
    console = result_console()
    table = Table(title=f"{report.package}: {report.operations} operations")
    for column in ("mode", "median s", "fastest s", "slowest s", "peak MB", "allowed MB"):
        table.add_column(column, justify="left" if column == "mode" else "right")
    for name, times in report.seconds.items():
        table.add_row(
            name,
            f"{statistics.median(times):.3f}",
            f"{min(times):.3f}",
            f"{max(times):.3f}",
            f"{report.peak_bytes[name] / 1e6:.1f}",
            f"{report.allowed_bytes / 1e6:.1f}",
        )
    console.print(table)
    top = list(report.seconds_by_operator.items())[:5]
    spent = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in top)
    console.print(f"Declared, by operator: {spent}. This is no statement about any phone.")


def main() -> None:
    """Entry point."""
    run_command(app)


if __name__ == "__main__":
    main()
