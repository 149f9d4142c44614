"""onnxruntime_perf_test: what it prints, and the file of times that `-r` appends to.

The printed text ends with a summary; with `-v` it has every inference. The file has a line for
every inference (model, seconds, peak working set, CPU share, number), from 0 for every process:
each is a launch of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..protocol.events import Reading
from .base import (
    NS_PER,
    Figures,
    ForeignFileError,
    Format,
    Measured,
    Source,
    ToldLaunch,
    ToldSession,
    check_launches,
    check_samples,
    number,
)

ENGINE = "onnxruntime"
_NUMBER = r"([0-9.]+(?:e[+-]?\d+)?)"
_TOLD = re.compile(rf"^([A-Z][A-Za-z0-9 ]*?)(?: is|:) ?{_NUMBER} ?(ns|us|ms|sec|s|bytes|%)?\b")
_STARTS = "Session creation time cost"
_AVERAGES = ("Average inference time cost", "Average inference time cost total")
_SUMMARY = {
    "Min Latency": "min_ns",
    "Max Latency": "max_ns",
    "P50 Latency": "median_ns",
    "P90 Latency": "p90_ns",
    "P95 Latency": "p95_ns",
    "P99 Latency": "p99_ns",
    "P999 Latency": "p999_ns",
}
_THREADS = re.compile(r"^Setting intra_op_num_threads to (\d{1,4})\b")
_PROVIDER = re.compile(r"^using (\w{1,60}ExecutionProvider)\b", re.IGNORECASE)
_INFERENCE = re.compile(rf"^iteration:\d+,time_cost:{_NUMBER}$")


def _printed(source: Source) -> bool:
    return any(line.startswith(_STARTS) for line in source.lines)


def _read_text(source: Source) -> tuple[ToldSession, ...]:
    """Several texts after one another are several launches."""
    parts: list[list[str]] = [[]]
    started = False
    for line in source.lines:
        starts = line.startswith(_STARTS)
        if started and (starts or _THREADS.match(line) or _PROVIDER.match(line)):
            check_launches(len(parts) + 1)
            parts.append([])
            started = False
        started = started or starts
        parts[-1].append(line)
    return (ToldSession(launches=tuple(_launch(source.name, part) for part in parts)),)


def _launch(label: str, lines: list[str]) -> ToldLaunch:
    told: dict[str, tuple[float, str]] = {}
    for line in lines:
        if found := _TOLD.match(line):
            told.setdefault(found[1], (number(float(found[2])), found[3] or ""))
    summary = {field: _ns(*told[name]) for name, field in _SUMMARY.items() if name in told}
    for name in _AVERAGES:
        if name in told:
            summary["mean_ns"] = _ns(*told[name])
    if not summary:
        raise ForeignFileError("the text tells no latency: it ends too early", "run it again")
    count = told.get("Total inference requests", told.get("Runs"))
    figures = [Figures(count=None if count is None else int(count[0]), told=summary)]
    if "First inference time cost" in told:
        first = _ns(*told["First inference time cost"])
        figures.append(Figures("first", 1, {"figure_ns": first}))
    measured = Measured(
        label=label,
        engine=ENGINE,
        backend=_first(_PROVIDER, lines) or "",
        threads=int(_first(_THREADS, lines) or 0) or None,
        samples_ns=tuple(
            float(found[1]) * 1e9 for line in lines if (found := _INFERENCE.match(line))
        ),
        load_ns=_ns(*told[_STARTS]) if _STARTS in told else None,
        figures=tuple(figures),
    )
    peak = told.get("Peak working set size")
    return ToldLaunch((measured,), readings=_peak(None if peak is None else peak[0]))


def _ns(value: float, unit: str) -> float:
    return value * NS_PER[unit]


def _first(pattern: re.Pattern[str], lines: list[str]) -> str | None:
    return next((found[1] for line in lines if (found := pattern.match(line))), None)


def _peak(size: float | None) -> tuple[Reading, ...]:
    if size is None or not 0 < size < 2**63:
        return ()
    return (Reading(at_ns=0, kind="memory", name="peak", value=int(size)),)


_LINE = re.compile(rf"^(.*),{_NUMBER},(\d{{1,18}}),(\d{{1,9}}),(\d{{1,9}})$")


def _times(source: Source) -> bool:
    return bool(source.lines) and _LINE.match(source.lines[0]) is not None


def _read_times(source: Source) -> tuple[ToldSession, ...]:
    launches: list[ToldLaunch] = []
    for label, samples, peak in _processes(source.lines, source.name):
        check_launches(len(launches) + 1)
        measured = Measured(label=label, engine=ENGINE, samples_ns=tuple(samples))
        launches.append(ToldLaunch((measured,), readings=_peak(peak)))
    return (ToldSession(launches=tuple(launches)),)


def _processes(lines: list[str], name: str) -> Iterator[tuple[str, list[float], float]]:
    """Label, samples in nanoseconds and peak memory of every process that wrote into the file."""
    samples: list[float] = []
    label, peak = name, 0.0
    for place, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            if not line or _TOLD.match(line):
                continue  # statistics of the lines before
            raise ForeignFileError(f"line {place + 1} is none of this file", "run it again")
        if int(found[5]) == 0 and samples:
            yield label, samples, peak
            samples = []
        if int(found[5]) != len(samples):
            raise ForeignFileError(f"line {place + 1} is out of order", "run it again")
        label, peak = found[1] or name, float(found[3])
        samples.append(float(found[2]) * 1e9)
        check_samples(len(samples))
    yield label, samples, peak


TEXT = Format("onnxruntime-perf-test", "onnxruntime_perf_test", _printed, _read_text)
RESULTS = Format(
    "onnxruntime-perf-test-results", "onnxruntime_perf_test's file of times", _times, _read_times
)
