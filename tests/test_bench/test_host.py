from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from care_mobile.bench.devices import host


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(host, "_CPU_INFO", file)
    monkeypatch.setattr(sys, "platform", "linux")
    return file


@pytest.mark.parametrize(
    ("text", "virtualised"),
    [
        ("model name\t: Chip 9\nflags\t\t: fpu hypervisor sse\n", True),
        ("model name\t: Chip 9\nflags\t\t: fpu sse\n", False),
        ("model name\t: Chip 9\nFeatures\t: neon\n", None),
    ],
)
def test_the_cpu_tells_its_name_and_hypervisor(
    cpu_info: Path, text: str, virtualised: bool | None
) -> None:
    cpu_info.write_text(text)
    machine = host.describe_host("desktop")
    assert (machine.soc, machine.virtualised) == ("Chip 9", virtualised)


def test_a_machine_that_tells_nothing(cpu_info: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(host, "_CPUS", cpu_info.parent)
    machine = host.describe_host("desktop")
    assert (machine.soc, machine.virtualised) == ("unknown", None)
    assert (machine.governor, machine.frequency_khz) == (None, None)


def test_the_governor_is_that_of_the_first_usable_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cpu5" / "cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_governor").write_text("performance\n")
    (folder / "scaling_cur_freq").write_text("2400000\n")
    monkeypatch.setattr(host, "_CPUS", tmp_path)
    monkeypatch.setattr(host, "usable_cpus", lambda: (5, 6))
    machine = host.describe_host("desktop")
    assert (machine.governor, machine.frequency_khz) == ("performance", 2_400_000)


def test_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    sensors = {
        "chip": [
            SimpleNamespace(label="core", current=51.5),
            SimpleNamespace(label="", current=40.0),
            SimpleNamespace(label="broken", current=None),
        ]
    }
    battery = SimpleNamespace(percent=100.4, power_plugged=False)
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    found = host.read_sensors(9)
    assert [(r.sensor, r.celsius, r.at_ns) for r in found.thermal] == [
        ("chip/core", 51.5, 9),
        ("chip/1", 40.0, 9),
    ]
    assert [(r.level_percent, r.charging) for r in found.battery] == [(100.0, False)]
    assert found.memory[0].resident_bytes > 1_000_000


def test_no_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    found = host.read_sensors(0)
    assert (found.thermal, found.battery) == ((), ())


def test_cpus_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert host.usable_cpus() == (0, 1, 2)
