"""coremltools' MLModelBenchmarker: its Measurement, printed or dumped as JSON.

The library writes no file; these are the two shapes that its dataclass has by itself: `repr`, and
`json.dumps(dataclasses.asdict(measurement))`. A JSON object may hold one of `load` and one of
`predict`; of two that are printed the line before, or its own beginning, says which is of loads.
Times are milliseconds.
"""

from __future__ import annotations

from typing import Any

from .base import (
    NS_PER,
    Figures,
    ForeignFileError,
    Format,
    Measured,
    Source,
    ToldLaunch,
    ToldSession,
    check_samples,
    number,
)

_PRINTED, _SAMPLES = "MLModelBenchmarker.Measurement(", "samples=["
_BEFORE, _STATISTICS = 200, 2000
"""Characters in which the kind, and the samples, are looked for."""
_FIELDS = {
    "minimum": "min_ns",
    "maximum": "max_ns",
    "average": "mean_ns",
    "std_dev": "deviation_ns",
    "median": "median_ns",
}
_PREDICT = ("predict", "prediction", "predictions")


def _is_measurement(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("samples"), list)
        and isinstance(value.get("statistics"), dict | None)
    )


def _dumped(source: Source) -> dict[str, Any]:
    """Measurements by what was measured; empty if there are none."""
    value = source.json
    if _is_measurement(value):
        return {"predict": value}
    if not isinstance(value, dict):
        return {}
    return {key: one for key, one in value.items() if _is_measurement(one)}


def _recognise(source: Source) -> bool:
    return bool(_dumped(source)) or _PRINTED in source.text


def _read(source: Source) -> tuple[ToldSession, ...]:
    found = _dumped(source) or _printed(source)
    predicted = next((found[key] for key in _PREDICT if key in found), None)
    check_samples(0 if predicted is None else len(predicted["samples"]))
    samples = [] if predicted is None else [number(ms) for ms in predicted["samples"]]
    if predicted is None or not samples:
        raise ForeignFileError("it holds no predictions", "dump what benchmark_predict returns")
    loads = [number(ms) for ms in found["load"]["samples"]] if "load" in found else []
    figures = [Figures(count=len(samples), told=_statistics(predicted))]
    if loads:
        figures.append(Figures("load", len(loads), _statistics(found["load"])))
    measured = Measured(
        label=source.name,
        engine="coreml",
        warm=False,
        samples_ns=tuple(ms * NS_PER["ms"] for ms in samples),
        load_ns=loads[0] * NS_PER["ms"] if loads else None,
        figures=tuple(f for f in figures if f.told),
    )
    return (ToldSession(launches=(ToldLaunch((measured,)),)),)


def _printed(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {}
    text, place = source.text, 0
    while (start := text.find(_PRINTED, place)) >= 0:
        before = text[max(place, start - _BEFORE) : start].rsplit("\n", 2)[-2:]
        begin = text.find(_SAMPLES, start, start + _STATISTICS)
        end = text.find("]", begin)
        if begin < 0 or end < 0:
            raise ForeignFileError("a measurement has no samples", "print it whole")
        kind = "load" if "load" in " ".join(before).lower() else "predict"
        if kind in found:
            raise ForeignFileError(f"it holds two measurements of kind {kind}", "keep one of them")
        check_samples(text.count(",", begin, end))
        values = text[begin + len(_SAMPLES) : end].split(",")
        found[kind] = {"samples": [float(v) for v in values if v.strip()], "statistics": None}
        place = end
    return found


def _statistics(measurement: dict[str, Any]) -> dict[str, float]:
    told = measurement.get("statistics") or {}
    return {f: number(told[k]) * NS_PER["ms"] for k, f in _FIELDS.items() if k in told}


FORMAT = Format("coreml-benchmarker", "coremltools' MLModelBenchmarker", _recognise, _read)
