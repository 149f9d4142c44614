"""androidx.benchmark's `*-benchmarkData.json`, for benchmarks whose body is an inference.

`timeNs` has `runs`; each is the mean of `repeatIterations` repetitions. What the library found
wrong with the device it puts before the benchmark's name (`EMULATOR_`, `DEBUGGABLE_`, ...).
"""

from __future__ import annotations

import re
from typing import Any

from ..protocol.events import Reading, Reality
from ..protocol.foreign import Lack
from .base import (
    Figures,
    ForeignFileError,
    Format,
    Measured,
    Source,
    ToldLaunch,
    ToldMachine,
    ToldSession,
    check_samples,
    number,
    text,
    whole,
)

_WARNING = re.compile(r"^((?:[A-Z][A-Z-]*_)+)")
_FIELDS = {"minimum": "min_ns", "maximum": "max_ns", "median": "median_ns"}


def _recognise(source: Source) -> bool:
    value = source.json
    return (
        isinstance(value, dict)
        and isinstance(value.get("context"), dict)
        and isinstance(value.get("benchmarks"), list)
    )


def _read(source: Source) -> tuple[ToldSession, ...]:
    context = source.json["context"]
    timed = [one for one in source.json["benchmarks"] if "timeNs" in one["metrics"]]
    if not timed:
        raise ForeignFileError(
            "none of its benchmarks has a timeNs", "only microbenchmarks hold latencies"
        )
    warnings = {w for one in timed for w in _warnings(one["name"])}
    launch = ToldLaunch(
        measured=tuple(_measured(one) for one in timed),
        readings=_readings(context),
        notes=tuple(_notes(timed, context, warnings)),
    )
    reality = Reality.EMULATOR if "EMULATOR" in warnings else Reality.UNKNOWN
    return (
        ToldSession(
            launches=(launch,),
            machine=_machine(context, reality),
            device="android",
            lacks=(Lack.OTHER_BUNDLES,) if len(timed) < len(source.json["benchmarks"]) else (),
        ),
    )


def _warnings(name: str) -> list[str]:
    found = _WARNING.match(name)
    return found[1].rstrip("_").split("_") if found else []


def _measured(one: dict[str, Any]) -> Measured:
    metric = one["metrics"]["timeNs"]
    name, group = one["name"], text(one.get("className")) or ""
    label = f"{group.rpartition('.')[2]}.{name}" if group else name
    if one.get("params"):
        label += f" {', '.join(f'{k}={text(v)}' for k, v in one['params'].items())}"
    check_samples(len(metric["runs"]))
    repeats = whole(one.get("repeatIterations"), 2**31)
    warm_ups = one.get("warmupIterations")
    told = {f: number(metric[k]) for k, f in _FIELDS.items() if metric.get(k) is not None}
    return Measured(
        label=label,
        engine="unknown",
        samples_ns=tuple(number(run) for run in metric["runs"]),
        averaged=repeats != 1,
        warm=warm_ups is None or number(warm_ups) > 0,
        figures=(Figures(count=len(metric["runs"]), told=told),) if told else (),
    )


def _notes(
    timed: list[dict[str, Any]], context: dict[str, Any], warnings: set[str]
) -> list[tuple[str, str]]:
    found = [(warning, "androidx.benchmark put it before the name") for warning in sorted(warnings)]
    slept = sum(number(one.get("thermalThrottleSleepSeconds", 0)) for one in timed)
    if slept > 0:
        found.append(("throttled", f"androidx.benchmark slept {slept:g} s to cool down"))
    if context.get("cpuLocked") is False:
        found.append(("clocks-not-locked", "the frequencies of the CPU were free"))
    return found


def _readings(context: dict[str, Any]) -> tuple[Reading, ...]:
    kept = context.get("sustainedPerformanceModeEnabled")
    if not isinstance(kept, bool):
        return ()
    return (Reading(at_ns=0, kind="fixed-performance", state="yes" if kept else "no"),)


def _machine(context: dict[str, Any], reality: Reality) -> ToldMachine:
    build = context.get("build") or {}
    api = text((build.get("version") or {}).get("sdk"))
    names = (text(build.get("brand")), text(build.get("model")))
    return ToldMachine(
        model=" ".join(name for name in names if name) or None,
        os=f"Android, API {api}" if api else None,
        os_build=text(build.get("fingerprint")),
        cores=whole(context.get("cpuCoreCount"), 100_000),
        memory_bytes=whole(context.get("memTotalBytes"), 2**63 - 1),
        reality=reality,
    )


FORMAT = Format("androidx-benchmark", "androidx.benchmark", _recognise, _read)
