"""What a machine says of itself at a moment. Where a system does not tell, there is no reading."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..protocol.events import MAX_READINGS, Reading
from .machine import CPUS, plain, read_text, told
from .pinning import usable_cores

STAT = Path("/proc/stat")
STATM = Path("/proc/self/statm")
HWMON = Path("/sys/class/hwmon")
THERMAL_ZONES = Path("/sys/class/thermal")
POWER = Path("/sys/class/power_supply")
_STEAL = 8
"""Place of the time given to others in the first line of /proc/stat."""


class Sensors:
    """See the module's docstring. It remembers counts, to tell what happened since."""

    def __init__(self) -> None:
        self._throttled = _throttle_count()

    def look(self, at_ns: int) -> tuple[Reading, ...]:
        """One look at everything, at most as many readings as an event holds."""
        sensors = (
            _temperatures, self._thermal, _battery, _memory, _load, _steal, _frequency
        )  # fmt: skip
        found = [reading for sensor in sensors for reading in _read(sensor, at_ns)]
        return tuple(found[-MAX_READINGS:])

    def _thermal(self, at_ns: int) -> Iterator[Reading]:
        """Linux counts how often the processor slowed down for its heat, on some; else nobody
        knows, which is not nominal."""
        if sys.platform == "darwin":
            yield _state(at_ns, "thermal", _mac_thermal(told("/usr/bin/pmset", "-g", "therm")))
            return
        before, self._throttled = self._throttled, _throttle_count()
        if self._throttled is None or before is None:
            yield _state(at_ns, "thermal", "unknown")
        else:
            yield _state(at_ns, "thermal", "moderate" if self._throttled > before else "nominal")


def _read(sensor: Callable[[int], Iterator[Reading]], at_ns: int) -> list[Reading]:
    """What a sensor gives; nothing if it is broken, which ends no round."""
    try:
        return list(sensor(at_ns))
    except Exception:  # drivers and psutil raise anything
        return []


def still(at_ns: int) -> tuple[Reading, ...]:
    """What is read once per launch: the host's name and the governor."""
    governor = read_text(_frequencies() / "scaling_governor")
    told = {"host": platform.node(), "governor": governor}
    return tuple(_state(at_ns, kind, plain(state)) for kind, state in told.items() if state)


def resident_bytes() -> int | None:
    """Memory of this process."""
    try:
        text = read_text(STATM)
        if text is not None:
            return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        import psutil

        return int(psutil.Process().memory_info().rss)
    except Exception:  # of a system that does not tell
        return None


def _state(at_ns: int, kind: str, state: str, name: str = "") -> Reading:
    return Reading(at_ns=at_ns, kind=kind, name=name, state=state)


def _value(at_ns: int, kind: str, value: int, name: str = "") -> Reading:
    return Reading(at_ns=at_ns, kind=kind, name=name, value=value)


def _memory(at_ns: int) -> Iterator[Reading]:
    found = resident_bytes()
    if found is not None:
        yield _value(at_ns, "memory", found)


def _load(at_ns: int) -> Iterator[Reading]:
    if hasattr(os, "getloadavg"):
        yield _value(at_ns, "load", round(os.getloadavg()[0] * 1000))


def _steal(at_ns: int) -> Iterator[Reading]:
    first = (read_text(STAT) or "").partition("\n")[0].split()
    if first[:1] == ["cpu"] and len(first) > _STEAL:
        tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        yield _value(at_ns, "steal", int(first[_STEAL]) * tick_ns)


def _frequencies() -> Path:
    return CPUS / f"cpu{usable_cores()[0]}" / "cpufreq"


def _frequency(at_ns: int) -> Iterator[Reading]:
    """Of the first core this process may run on."""
    khz = read_text(_frequencies() / "scaling_cur_freq")
    if khz is not None and khz.isdecimal():
        yield _value(at_ns, "frequency", int(khz), f"cpu{usable_cores()[0]}")


def _temperatures(at_ns: int) -> Iterator[Reading]:
    if not (_any(HWMON, "*") or _any(THERMAL_ZONES, "thermal_zone*")):
        return
    import psutil  # only where it finds something

    for chip, sensors in sorted(psutil.sensors_temperatures().items()):
        for place, sensor in enumerate(sensors):
            if sensor.current is not None:
                name = f"{chip}/{sensor.label or place}"
                yield _value(at_ns, "temperature", round(sensor.current * 1000), name)


def _any(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def _battery(at_ns: int) -> Iterator[Reading]:
    if not (sys.platform == "darwin" or _any(POWER, "*")):
        return
    import psutil

    found = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if found is None:
        return
    permille = round(min(max(float(found.percent), 0.0), 100.0) * 10)
    states = {False: "discharging", True: "full" if permille == 1000 else "charging"}
    yield Reading(
        at_ns=at_ns, kind="battery", value=permille, state=states.get(found.power_plugged)
    )


def _throttle_count() -> int | None:
    counts = [
        int(text)
        for core in usable_cores()
        for name in ("core_throttle_count", "package_throttle_count")
        if (text := read_text(CPUS / f"cpu{core}" / "thermal_throttle" / name)) is not None
        and text.isdecimal()
    ]
    return sum(counts) if counts else None


def _mac_thermal(report: str | None) -> str:
    """`pmset -g therm`: a limit or a warning once there was one, a note that there was none before.

    That no warning was recorded is as near to nominal as this tool comes.
    """
    if report is None:
        return "unknown"
    limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", report)
    if limit is not None and int(limit.group(1)) < 100:
        return "moderate"
    level = re.search(r"[Tt]hermal [Ww]arning [Ll]evel\s*(?:set to|=)\s*(\d+)", report)
    if level is not None and int(level.group(1)) > 0:
        return "moderate"
    if limit is not None or level is not None or "No thermal warning level" in report:
        return "nominal"
    return "unknown"
