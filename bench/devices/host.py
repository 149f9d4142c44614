"""Facts about the machine this process runs on.

Where a system does not tell, the fact is None or the list empty.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from ..environment import BatteryReading, Machine, MemoryReading, Readings, ThermalReading

_CPUS = Path("/sys/devices/system/cpu")
_CPU_INFO = Path("/proc/cpuinfo")


def usable_cpus() -> tuple[int, ...]:
    """Logical cpus this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def describe_host(device: str) -> Machine:
    """The machine; `governor` and `frequency_khz` are those of the first usable cpu."""
    cpus = usable_cpus()
    frequency = _CPUS / f"cpu{cpus[0]}" / "cpufreq"
    khz = _read(frequency / "scaling_cur_freq")
    return Machine(
        device=device,
        name=platform.node() or "unknown",
        os=_os_name(),
        os_build=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        soc=_cpu_model(),
        cores=os.cpu_count() or len(cpus),
        virtualised=_virtualised(),
        governor=_read(frequency / "scaling_governor"),
        frequency_khz=int(khz) if khz else None,
    )


def read_sensors(at_ns: int) -> Readings:
    """One look at the temperatures, the battery and this process's memory."""
    resident_bytes = psutil.Process().memory_info().rss
    return Readings(
        thermal=_thermal(at_ns),
        battery=_battery(at_ns),
        memory=(MemoryReading(at_ns=at_ns, resident_bytes=resident_bytes),),
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _os_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.version()}"


def _sysctl(name: str) -> str | None:
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _cpu_info(key: str) -> str | None:
    for line in (_read(_CPU_INFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _cpu_model() -> str:
    if sys.platform == "darwin":
        found = _sysctl("machdep.cpu.brand_string")
    else:
        found = _cpu_info("model name")
    return found or platform.processor() or "unknown"


def _virtualised() -> bool | None:
    """x86 hypervisors announce themselves in the cpu's flags; ARM has no such flag."""
    if sys.platform == "darwin":
        present = _sysctl("kern.hv_vmm_present")
        return None if present is None else present == "1"
    flags = _cpu_info("flags")
    return None if flags is None else "hypervisor" in flags.split()


def _thermal(at_ns: int) -> tuple[ThermalReading, ...]:
    if not hasattr(psutil, "sensors_temperatures"):  # Linux and FreeBSD only
        return ()
    return tuple(
        ThermalReading(at_ns=at_ns, sensor=f"{chip}/{sensor.label or place}", celsius=celsius)
        for chip, sensors in sorted(psutil.sensors_temperatures().items())
        for place, sensor in enumerate(sensors)
        if (celsius := sensor.current) is not None
    )


def _battery(at_ns: int) -> tuple[BatteryReading, ...]:
    found = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if found is None:
        return ()
    percent = min(float(found.percent), 100.0)
    return (BatteryReading(at_ns=at_ns, level_percent=percent, charging=found.power_plugged),)
