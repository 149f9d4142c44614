"""ExecuTorch's Android benchmark app: `benchmark_results.json`.

A list of single figures: means of inferences that were not kept. Its memory of the device is always
0, and what it calls `arch` is the device's model.
"""

from __future__ import annotations

from typing import Any

from ..protocol.events import Reading
from ..protocol.foreign import Lack
from .base import (
    BYTES_PER_MB,
    NS_PER,
    Figures,
    ForeignFileError,
    Format,
    Measured,
    Source,
    ToldLaunch,
    ToldMachine,
    ToldSession,
    number,
    text,
)

_MEANS = {
    "avg_inference_latency(ms)": "mean_ns",
    "trimmean_inference_latency(ms)": "trimmed_mean_ns",
}
_LOAD, _STATUS, _MEMORY = "model_load_time(ms)", "load_status", "ram_pss_usage(mb)"
_KNOWN = {*_MEANS, _LOAD, _STATUS, _MEMORY}


def _recognise(source: Source) -> bool:
    rows = source.json
    return (
        isinstance(rows, list)
        and bool(rows)
        and isinstance(rows[0], dict)
        and {"benchmarkModel", "metric", "actualValue"} <= rows[0].keys()
    )


def _read(source: Source) -> tuple[ToldSession, ...]:
    rows: list[dict[str, Any]] = source.json
    models: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        model = row["benchmarkModel"]
        key = tuple(text(model.get(k)) or "" for k in ("name", "backend", "quantization"))
        metric = row["metric"]
        if metric in _KNOWN:
            models.setdefault((key[0], key[1], key[2]), {})[metric] = number(row["actualValue"])
    launches = [_launch(key, found) for key, found in models.items()]
    if not any(measured.figures for launch in launches for measured in launch.measured):
        raise ForeignFileError("it holds no latency of a network", "language models are not read")
    told = rows[0].get("deviceInfo") or {}
    brand, device = text(told.get("device")), text(told.get("arch"))
    machine = ToldMachine(
        model=" ".join(part for part in (brand, device) if part) or None, os=text(told.get("os"))
    )
    return (
        ToldSession(
            launches=tuple(launches), machine=machine, device="android", lacks=(Lack.NO_WARM_UP,)
        ),
    )


def _launch(key: tuple[str, str, str], found: dict[str, float]) -> ToldLaunch:
    model, backend, precision = key
    means = {field: found[k] * NS_PER["ms"] for k, field in _MEANS.items() if k in found}
    status = found.get(_STATUS, 0.0)
    measured = Measured(
        label="-".join(part for part in key if part) or "model",
        model=model,
        precision=precision,
        engine="executorch",
        backend=backend,
        load_ns=found[_LOAD] * NS_PER["ms"] if _LOAD in found else None,
        figures=(Figures(told=means),) if means else (),
        failed=("load-failed", f"ExecuTorch's error {status:.0f}") if status else None,
    )
    size = found.get(_MEMORY, 0.0) * BYTES_PER_MB
    kept = 0 < size < 2**63
    reading = Reading(at_ns=0, kind="memory", name="growth", value=int(size) if kept else 0)
    return ToldLaunch((measured,), readings=(reading,) if kept else ())


FORMAT = Format("minibench", "ExecuTorch's benchmark app", _recognise, _read)
