"""What `care-export` shows: progress while it works, tables when it is done."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from care_mobile.agreement import MAX_DB
from care_mobile.bundle import LeftAlone, Outlook, Parity, PassReport
from care_mobile.half_precision import LIMIT_DB, WORTH_DB, Candidate, HalfPrecision
from care_mobile.runtimes.coreml_interpreter import CoreMLInterpreter
from care_mobile.terminal import progress_console, result_console

from .overflow import named, out_of_range
from .quantize.calibration import BUILT_IN
from .quantize.precision import HALF
from .result import BundleResult, ExportReport, NetworkResult, Status

FINAL = {"prepared", *(status.value for status in Status)}
"""Steps after which a subject is done."""
_WORST_LAYERS = 10
_KEPT_NAMED = 4
_DIFFERENCES = 6
_STYLES = {
    Status.VERIFIED: "green",
    Status.UNVERIFIED: "yellow",
    Status.PARITY_FAILED: "red",
    Status.FAILED: "red",
}


@contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """A line per network and bundle with its step and time; plain lines without a terminal."""
    console = progress_console()
    if not console.is_terminal:
        started = time.monotonic()
        yield lambda subject, step: console.print(
            f"{time.monotonic() - started:5.1f} s  {subject}: {step}", soft_wrap=True
        )
        return
    bars = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.fields[subject]}"),
        TextColumn("[dim]{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()

    def on_step(subject: str, step: str) -> None:
        with lock:
            if subject not in tasks:
                tasks[subject] = bars.add_task(step, total=1, subject=subject)
            done = int(step in FINAL)
            bars.update(tasks[subject], description=step, completed=done)

    with bars:
        bars.console.print("[dim]loading torch and the converters …")
        yield on_step


def summary(report: ExportReport, explain: bool) -> None:
    """The networks, one table of bundles, and what the reader must know about them."""
    console = result_console()
    for network in report.networks:
        console.print(_headline(network))
        if explain:
            console.print(_passes(network))
            for line in _left_alone(network):
                console.print(f"  {line}", style="dim")
    console.print(_bundles(report))
    for result in report.bundles:
        if explain:
            for line in _rewrites(result):
                console.print(line, style="dim", soft_wrap=True)
        if explain and result.sensitivity:
            console.print(_sensitivity(result))
        if result.half_precision:
            if explain:
                console.print(_cost(result.name, result.half_precision))
            if explain or result.kept_float:
                console.print(_advice(result, result.half_precision), soft_wrap=True)
    for line in _notes(report):
        console.print(line, soft_wrap=True)


def _headline(network: NetworkResult) -> str:
    size = network.resolution
    weights = "random weights" if network.random_weights else f"weights {network.weights}"
    before, after = (
        (network.passes[0].operations_before, network.passes[-1].operations_after)
        if network.passes
        else (None, None)
    )
    further = network.target_passes
    every = [p for reports in (network.passes, *further.values()) for p in reports]
    worst = max((p.relative_error for p in every), default=0.0)
    less = "".join(f", {r[-1].operations_after} for {name}" for name, r in further.items())
    arithmetic = network.proof.arithmetic if network.proof else "float64"
    if not every:
        proof = "; no reparameterization"
    elif not any(entry.places for entry in every):
        count = "1 operation" if before == 1 else f"{before} operations"
        proof = f"; {count}, no pass found a place"
    else:
        exact = f"every pass exact to {worst:.0e} in {arithmetic}"
        proof = f"; {before} operations -> {after}{less}, {exact}"
    return (
        f"[bold]{network.model}[/] at {size}: {_amount(network.parameters, 'M')} parameters, "
        f"{_amount(network.macs, 'G')} multiply-accumulates, {weights}{proof}"
    )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.{1 if size_bytes >= 10**5 else 4}f}"


def _amount(count: int, unit: Literal["M", "G"]) -> str:
    """`count` in millions or billions, or in full where that would leave less than two digits."""
    scale, decimals = (10**6, 2) if unit == "M" else (10**9, 3)
    value = f"{count / scale:.{decimals}f}"
    return f"{value} {unit}" if count * 10 ** (decimals - 1) >= scale else f"{count:,}"


def _passes(network: NetworkResult) -> Table:
    table = Table(title=f"Reparameterization of {network.model} at {network.resolution}")
    table.add_column("pass")
    for column in ("places", "left alone", "relative error", "operations before", "after"):
        table.add_column(column, justify="right")
    for target, entry in _all_passes(network):
        table.add_row(
            f"{target}: {entry.name}" if target else entry.name,
            str(entry.places),
            str(len(entry.left)),
            f"{entry.relative_error:.1e}" if entry.places else "-",
            str(entry.operations_before),
            str(entry.operations_after),
        )
    return table


def _all_passes(network: NetworkResult) -> list[tuple[str, PassReport]]:
    """The shared passes, then each target's own with its name."""
    further = [(name, entry) for name, all_of in network.target_passes.items() for entry in all_of]
    return [("", entry) for entry in network.passes] + further


def _left_alone(network: NetworkResult) -> list[str]:
    """Reasons why places were left alone, grouped, with one example each."""
    return [
        line
        for _, entry in _all_passes(network)
        for line in _grouped(entry, [p for p in entry.left if not p.unproven])
    ]


def _grouped(entry: PassReport, left: list[LeftAlone]) -> list[str]:
    groups = Counter(_kind(p.place, p.reason) for p in left)
    examples = {_kind(p.place, p.reason): p for p in reversed(left)}
    lines = []
    for kind, count in groups.items():
        example = examples[kind]
        also = f" (and {count - 1} alike)" if count > 1 else ""
        lines.append(f"{entry.name} left {example.place}: {example.reason}{also}")
    return lines


def _proof(network: NetworkResult) -> list[str]:
    """What must be said about how the passes of a network were proven."""
    name = f"{network.model} at {network.resolution}"
    lines = [f"{name}: {part} is kept whole: {why}." for part, why in network.opaque.items()]
    if network.proof and network.proof.reason:
        arithmetic, reason = network.proof.arithmetic, network.proof.reason
        lines.append(f"{name}: passes are proven in {arithmetic}, not float64: {reason}.")
    for _, entry in _all_passes(network):
        unproven = [p for p in entry.left if p.unproven]
        lines += [f"{name}: {line}." for line in _grouped(entry, unproven)]
    return lines


def _kind(place: str, reason: str) -> str:
    """A reason without the names in it, so that alike ones are counted together."""
    return " ".join(word for word in reason.split() if not any(c in word for c in "._0123456789"))


def _bundles(report: ExportReport) -> Table:
    table = Table()
    table.add_column("bundle", no_wrap=True)
    for column in ("MB", "operations", "partitions", "PSNR dB", "max abs", "top-1 same"):
        table.add_column(column, justify="right")
    table.add_column("result")
    for result in report.bundles:
        style = _STYLES[result.status]
        table.add_row(
            result.name,
            _megabytes(result.size_bytes) if result.size_bytes else "-",
            _operations(result),
            _partitions(result),
            *_agreement(result.parity),
            f"[{style}]{result.status.value}[/]",
        )
    return table


def _forecast(result: BundleResult) -> list[str]:
    """A bundle's Neural Engine forecast, worded as one."""
    found = result.forecast
    if found is None:
        return []
    counts, shares = found.operations, found.macs_share
    total = sum(counts.values()) - counts[Outlook.NEUTRAL]
    return [
        f"{result.name}: forecast by static rules, no measurement: {counts[Outlook.EXPECTED]} of "
        f"{total} operations ({shares.get(Outlook.EXPECTED, 0.0):.1%} of the work) expected on the "
        f"Neural Engine, {counts[Outlook.DOUBTFUL]} doubtful, {counts[Outlook.UNLIKELY]} unlikely; "
        "care-inspect says why."
    ]


def _rewrites(result: BundleResult) -> list[str]:
    """What the target's rewrites did, and why operations stay outside its backend."""
    done = [f"{name} ({places})" for name, places in result.rewrites.items() if places]
    lines = [f"{result.name}: rewritten: {', '.join(done)}"] if done else []
    outside = result.census.why_outside() if result.census else []
    return lines + [f"{result.name}: outside XNNPACK: {line}" for line in outside]


def _operations(result: BundleResult) -> str:
    return str(result.census.total) if result.census else "-"


def _partitions(result: BundleResult) -> str:
    census = result.census
    if census is None or census.partitions is None:
        return "-"
    return f"{census.partitions}, {census.fallback} outside"


def _verification(parity: Parity) -> list[str]:
    """What must be said about how a bundle was checked."""
    if parity.status == "unverified":
        return [f"{parity.runtime or 'its runtime'} {parity.reason}"]
    lines = []
    if parity.runtime == CoreMLInterpreter.name:
        lines.append("checked by care-mobile's interpreter in the declared types")
    beyond = [result.probes for result in parity.results if result.passed and not result.finite]
    if beyond:
        lines.append(f"{', '.join(beyond)} inputs leave the range of its precision (not judged)")
    lines += [f"{probes} left out: {why}" for probes, why in parity.left_out.items()]
    noted: dict[str, list[str]] = {}
    for result in parity.results:
        if result.note and result.passed and result.finite:
            noted.setdefault(result.note, []).append(result.probes)
    return lines + [f"{', '.join(sets)}: {note}" for note, sets in noted.items()]


def _agreement(parity: Parity | None) -> tuple[str, str, str]:
    """PSNR and largest difference on the seeded probes, top-1 agreement on the photos."""
    seeded, photos = (parity.on("seeded"), parity.on("photos")) if parity else (None, None)
    if seeded is None or photos is None:
        return "-", "-", "-"
    same = photos.top1_agreement
    share = "-" if same is None else f"{round(same * photos.count)} of {photos.count}"
    return f"{seeded.psnr_db:.1f}", f"{seeded.max_abs:.1e}", share


def _sensitivity(result: BundleResult) -> Table:
    table = Table(title=f"What 8-bit integers do to {result.name}: the worst layers, one at a time")
    table.add_column("layer")
    table.add_column("operator")
    table.add_column("outputs keep dB", justify="right")
    table.add_column("left in")
    for damage in result.sensitivity[:_WORST_LAYERS]:
        left = "float" if damage.node in result.kept_float else result.precision
        table.add_row(damage.node, damage.operator, f"{damage.psnr_db:.1f}", left)
    return table


def _quantization(result: BundleResult) -> list[str]:
    """What must be said about a narrow precision."""
    notes = []
    count = len(result.kept_float)
    if count and result.precision == HALF:
        notes.append(
            f"{result.name}: the results of {count} operations stay in fp32, "
            f"{', '.join(result.kept_float[:_KEPT_NAMED])}"
            f"{f' and {count - _KEPT_NAMED} more' if count > _KEPT_NAMED else ''}: "
            "they and what reads them leave the Neural Engine or a GPU's fast path."
        )
    elif count:
        notes.append(f"{result.name}: {count} layers are left in float.")
    found = result.calibration
    if found and found.source == BUILT_IN:
        notes.append(
            f"[yellow]{result.name}: calibrated on {found.images} crops of {found.source}; for "
            "accuracy give --calibration a folder of your own images.[/]"
        )
    elif found:
        notes.append(f"{result.name}: calibrated on {found.images} images of {found.source}.")
    return notes


def _accuracy(result: BundleResult) -> list[str]:
    found = result.accuracy
    if found is None:
        return []
    note = f" {found.note}" if found.note else ""
    return [
        f"{result.name}: top-1 {found.top1:.2%} of {found.images} images of {found.data}, the "
        f"network itself {found.reference_top1:.2%}; the same answer on {found.agreement:.2%}"
        f"{f'; NaN on {found.nan}, counted as wrong' if found.nan else ''}.{note}"
    ]


def _cost(name: str, cost: HalfPrecision) -> Table:
    table = Table(title=f"What fp16 costs {name}: the worst operations, on a photo")
    table.add_column("operation", overflow="fold")
    for column in ("alone dB", "so far dB", "largest", "overflow", "subnormal", "zeroed", "NaN"):
        table.add_column(column, justify="right")
    table.add_column("fp32 gains dB", justify="right")
    for candidate in cost.worst:
        entry = candidate.divergence
        table.add_row(
            named(cost, entry),
            "-" if entry.alone_psnr_db is None else _decibels(entry.alone_psnr_db),
            _decibels(entry.psnr_db),
            f"{entry.largest:.3g}",
            *(str(n) for n in (entry.overflows, entry.subnormals, entry.underflows, entry.nans)),
            _gain(cost, candidate),
        )
    return table


def _advice(result: BundleResult, cost: HalfPrecision) -> str:
    """What a user can do about it, with an option of this command."""
    start = f"Outputs keep {_db(cost.output_psnr_db)}; "
    if cost.first:
        start += f"{named(cost, cost.first)} falls below {LIMIT_DB:.0f} dB. "
    else:
        start += f"no operation falls below {LIMIT_DB:.0f} dB. "
    left = out_of_range(cost)
    if left:
        start += f"{left[0].upper()}{left[1:]}. "
    if result.kept_float:
        return start + f"That is before {len(result.kept_float)} were kept in fp32."
    if not cost.keep:
        return start + "Keeping any of these in fp32 gains less than 1 dB: leave all in fp16."
    return (
        start + f"--keep-float {cost.keep} keeps {_db(cost.kept_psnr_db)}: {_kept(cost)} in fp32."
    )


def _kept(cost: HalfPrecision) -> str:
    chosen = [c for c in cost.worst if c.keep_fp32]
    names = [named(cost, candidate.divergence) for candidate in chosen]
    more = cost.keep - len(chosen)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _db(psnr: float) -> str:
    return f"{psnr:.1f} dB" if psnr > -MAX_DB else "no finite value"


def _decibels(psnr: float) -> str:
    return f"{psnr:.1f}" if psnr > -MAX_DB else "none"


def _gain(cost: HalfPrecision, candidate: Candidate) -> str:
    """A gain over nothing finite has no number."""
    if cost.output_psnr_db <= -MAX_DB and candidate.gain_db >= WORTH_DB:
        return "needed"
    return f"{candidate.gain_db:+.1f}"


def _entries(network: NetworkResult) -> list[str]:
    """Which state dict of a checkpoint was taken, where there were several."""
    others = [key for key in network.weights_entries if key != network.weights_entry]
    if not others:
        return []
    taken = network.weights_entry or "the outermost"
    return [
        _warning(
            f"{network.weights} holds {len(others) + 1} state dicts: {taken} was taken; "
            f"--checkpoint-key takes {' or '.join(others)}."
        )
    ]


def _replaced(result: BundleResult) -> list[str]:
    """What became of a bundle of the same name that was there before."""
    if result.earlier_kept:
        return [_warning(f"{result.name}: the earlier bundle of that name is still there.")]
    found = result.replaced
    if found is None:
        return []
    if found.created is None:
        return [_warning(f"{result.name} replaced a damaged bundle: {found.damaged}.")]
    if not found.differences:
        return []
    shown = found.differences[:_DIFFERENCES]
    told = "; ".join(f"{d.what} {d.before or 'none'} -> {d.after or 'none'}" for d in shown)
    more = len(found.differences) - len(shown)
    told += f"; and {more} more, which --json tells" if more else ""
    return [
        _warning(
            f"{result.name} replaced the bundle of {found.created:%Y-%m-%d %H:%M} UTC, made from "
            f"something else: {told}."
        )
    ]


def _warning(line: str) -> str:
    return f"[yellow]{escape(line)}[/]"


def _notes(report: ExportReport) -> list[str]:
    notes = []
    for result in report.bundles:
        if result.failure:
            notes.append(f"[red]{result.name}: {result.failure.message}[/]")
            if result.failure.hint:
                notes.append(f"  try: {result.failure.hint}")
    checked = [(r, p) for r in report.bundles for p in (r.parity, *r.other_parity) if p]
    said = (f"{r.target}: {line}." for r, p in checked for line in _verification(p))
    notes += dict.fromkeys(said)
    notes += [
        _warning(f"{result.name}: the probe {name} is not in the bundle: {why}.")
        for result in report.bundles
        for name, why in result.probes_left_out.items()
    ]
    notes += [line for network in report.networks for line in _entries(network)]
    notes += [_warning(line) for network in report.networks for line in _proof(network)]
    notes += [
        _warning(f"{network.model} at {network.resolution}: --with-pass {name} found no place.")
        for network in report.networks
        for name in network.idle_passes
    ]
    notes += [
        _warning(f"{target} has no {' and no '.join(precisions)}: no such bundle.")
        for target, precisions in report.absent.items()
    ]
    notes += [line for result in report.bundles for line in _replaced(result)]
    notes += [line for result in report.bundles for line in _forecast(result)]
    notes += [line for result in report.bundles for line in _quantization(result)]
    notes += [line for result in report.bundles for line in _accuracy(result)]
    if any(n.random_weights for n in report.networks):
        notes.append(
            "Weights are random: the bundles are right for speed and parity, not for accuracy."
        )
    kept = sum(result.path is not None for result in report.bundles)
    notes.append(
        f"{kept} of {len(report.bundles)} bundles in {report.output} after {report.seconds:.0f} s."
    )
    return notes
