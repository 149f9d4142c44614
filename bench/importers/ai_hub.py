"""Qualcomm AI Hub Models' perf.yaml: one published number per device, runtime and precision.

Each device becomes a session of its own, as they are machines of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..protocol.events import Reading
from ..protocol.foreign import Lack
from ..protocol.plan import Unit
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
    check_launches,
    number,
)
from .yaml_values import yaml_value

_TIME = "inference_time_milliseconds"
_MARK = re.compile(r"^precisions:[ \t\r]*$", re.MULTILINE)
_VERSIONS = ("tflite", "onnx_runtime", "qairt")
_UNITS = {"npu": Unit.NPU, "gpu": Unit.GPU, "cpu": Unit.CPU}


def _recognise(source: Source) -> bool:
    return _MARK.search(source.text) is not None and "performance_metrics:" in source.text


def _read(source: Source) -> tuple[ToldSession, ...]:
    value = yaml_value(source.content)
    devices: dict[str, list[ToldLaunch]] = {}
    for device, launch in _rows(value["precisions"]):
        devices.setdefault(device, []).append(launch)
        check_launches(max(len(devices), len(devices[device])))
    if not devices:
        raise ForeignFileError("it holds no latency", "language models are not read")
    return tuple(
        ToldSession(
            launches=tuple(launches),
            machine=ToldMachine(model=device),
            device="ai-hub",
            lacks=(Lack.NO_WARM_UP,),
        )
        for device, launches in devices.items()
    )


def _rows(precisions: dict[str, Any]) -> Iterator[tuple[str, ToldLaunch]]:
    """Devices and their figures: each of a job, and so of a process, of its own."""
    for precision, of_precision in precisions.items():
        for component, of_component in of_precision["components"].items():
            for device, runtimes in of_component.get("performance_metrics", {}).items():
                for runtime, told in runtimes.items():
                    if _TIME in told or "job_status" in told:
                        measured = _measured(component, precision, runtime, told)
                        yield device, ToldLaunch((measured,), readings=_memory(told))


def _memory(told: dict[str, Any]) -> tuple[Reading, ...]:
    found = (told.get("estimated_peak_memory_range_mb") or {}).items()
    return tuple(
        Reading(at_ns=0, kind="memory", name=f"peak, {end}", value=int(mb) * BYTES_PER_MB)
        for end, mb in found
        if end in ("min", "max") and len(mb) < 10
    )


def _measured(component: str, precision: str, runtime: str, told: dict[str, Any]) -> Measured:
    versions = told.get("tool_versions") or {}
    used = [f"{name} {versions[name]}" for name in _VERSIONS if name in versions]
    figures: tuple[Figures, ...] = ()
    failed = None
    if _TIME in told:
        ms = number(float(told[_TIME]))
        figures = (Figures(told={"figure_ns": ms * NS_PER["ms"]}),)
    else:
        failed = ("job-failed", f"AI Hub's job {told.get('job_id')}: {told.get('job_status')}")
    counts = told.get("layer_counts") or {}
    return Measured(
        label=f"{component} {precision} {runtime}",
        model=component,
        precision=precision,
        engine=runtime,
        engine_version=", ".join(used) or None,
        ran_on=_UNITS.get(str(told.get("primary_compute_unit")).lower()),
        figures=figures,
        placement={k: int(v) for k, v in counts.items() if k in _UNITS} or None,
        failed=failed,
    )


FORMAT = Format("ai-hub", "AI Hub Models' perf.yaml", _recognise, _read)
