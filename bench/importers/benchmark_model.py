"""LiteRT's (TensorFlow Lite's) benchmark_model: what it prints.

It keeps no inferences. Two lines of statistics in microseconds, of the warm-up and of what counts,
then one with the time of the initialisation. Lines may begin with the mark of a log.
"""

from __future__ import annotations

import re

from ..protocol.events import Reading
from ..protocol.plan import Unit
from .base import (
    BYTES_PER_MB,
    Figures,
    ForeignFileError,
    Format,
    Measured,
    Source,
    ToldLaunch,
    ToldSession,
    check_launches,
    number,
)

_LOG = re.compile(r"^(?:INFO: |I tflite +: |.{0,60}\btflite *: )")
_START = "STARTING!"
_COUNT = re.compile(r"^count=(\d{1,9})((?: \w+=[0-9.e+]+)+)$")
_TIMINGS = "Inference timings in us: "
_OPTION = re.compile(r"^([#\w][\w #()-]{0,80}): \[(.{0,1000})\]$")
_PEAK = re.compile(r"^(?:Overall peak|Peak) memory footprint \(MB\)")
_DELEGATED = re.compile(
    r"^Replacing (\d{1,9}) out of (\d{1,9}) node\(s\) with delegate \((\w{1,60})\)"
)
_FIELDS = {
    "min": "min_ns",
    "max": "max_ns",
    "avg": "mean_ns",
    "std": "deviation_ns",
    "p5": "p5_ns",
    "median": "median_ns",
    "p95": "p95_ns",
}
_UNITS = {"Use gpu": Unit.GPU, "Use NNAPI": Unit.ALL, "Use CoreML": Unit.ALL}
_NS_PER_US = 1000.0


def _recognise(source: Source) -> bool:
    return any(_plain(line).startswith(_TIMINGS) for line in source.lines)


def _plain(line: str) -> str:
    return _LOG.sub("", line, count=1)


def _read(source: Source) -> tuple[ToldSession, ...]:
    """Several texts after one another are several launches."""
    parts: list[list[str]] = [[]]
    whole = False
    for line in map(_plain, source.lines):
        if line == _START and whole:
            check_launches(len(parts) + 1)
            parts.append([])
            whole = False
        whole = whole or line.startswith(_TIMINGS)
        parts[-1].append(line)
    return (ToldSession(launches=tuple(_launch(source.name, part) for part in parts)),)


def _launch(name: str, lines: list[str]) -> ToldLaunch:
    options = {found[1]: found[2] for line in lines if (found := _OPTION.match(line))}
    timings = next((line for line in lines if line.startswith(_TIMINGS)), None)
    counted = [found for line in lines if (found := _COUNT.match(line))]
    if timings is None:
        raise ForeignFileError("the text ends before its timings", "run it again")
    pairs = [pair.partition(": ") for pair in timings.removeprefix(_TIMINGS).split(", ")]
    told = {name: number(float(value)) for name, _, value in pairs}
    figures = [_counted(found, "latency") for found in counted[-1:]]
    figures += [_counted(found, "warm-up") for found in counted[-2:-1]]
    if not counted:
        figures = [Figures(told={"mean_ns": told["Inference (avg)"] * _NS_PER_US})]
    if "First inference" in told:
        figures.append(Figures("first", 1, {"figure_ns": told["First inference"] * _NS_PER_US}))
    delegated = [found for line in lines if (found := _DELEGATED.match(line))]
    threads = options.get("#threads used for CPU inference", options.get("Num threads", ""))
    asked = [unit for key, unit in _UNITS.items() if options.get(key) == "1"]
    measured = Measured(
        label=re.split(r"[/\\]", options.get("Graph", name))[-1],
        engine="litert",
        backend=" ".join(dict.fromkeys(found[3] for found in delegated)),
        asked=asked[0] if asked else (None if delegated else Unit.CPU),
        threads=int(threads) if threads.isdecimal() and len(threads) < 5 else None,
        warm=len(counted) > 1,
        load_ns=told["Init"] * _NS_PER_US if "Init" in told else None,
        figures=tuple(figures),
    )
    notes = [
        ("delegated", f"{found[1]} of {found[2]} operations to {found[3]}") for found in delegated
    ]
    peaks = [re.split("[ =]", line)[-1] for line in lines if _PEAK.match(line)]
    return ToldLaunch((measured,), readings=_memory(peaks), notes=tuple(notes))


def _counted(found: re.Match[str], what: str) -> Figures:
    """A line of statistics; of a single inference it has `curr` alone."""
    values = dict(pair.split("=", 1) for pair in found[2].split())
    told = {
        field: number(float(values[key])) * _NS_PER_US
        for key, field in _FIELDS.items()
        if key in values
    }
    if not told:
        told = {"figure_ns": number(float(values["curr"])) * _NS_PER_US}
    return Figures(what, int(found[1]), told)


def _memory(peaks: list[str]) -> tuple[Reading, ...]:
    if not peaks:
        return ()
    size = number(float(peaks[-1])) * BYTES_PER_MB
    if not 0 < size < 2**63:
        return ()
    return (Reading(at_ns=0, kind="memory", name="peak", value=int(size)),)


FORMAT = Format("benchmark-model", "LiteRT's benchmark_model", _recognise, _read)
