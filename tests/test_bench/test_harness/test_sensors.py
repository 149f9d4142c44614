from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from care_mobile.bench.harness import pinning, sensors
from care_mobile.bench.protocol.events import MAX_READINGS, Reading


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux with cores 5 and 6 that tells nothing; a test writes what it says."""
    monkeypatch.setattr(sys, "platform", "linux")
    for name, file in {
        "STAT": "stat", "STATM": "statm", "HWMON": "hwmon", "THERMAL_ZONES": "thermal",
        "POWER": "power", "CPUS": "cpus",
    }.items():  # fmt: skip
        monkeypatch.setattr(sensors, name, tmp_path / file)
    monkeypatch.setattr(sensors, "usable_cores", lambda: (5, 6))
    return tmp_path


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def seen(kind: str, found: tuple[Reading, ...]) -> list[Any]:
    return [(r.name, r.value, r.state) for r in found if r.kind == kind]


def test_nothing_is_guessed(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.25, 2.0, 3.0))
    found = sensors.Sensors().look(9)
    assert {(r.kind, r.value, r.state) for r in found if r.kind != "memory"} == {
        ("thermal", None, "unknown"),
        ("load", 1250, None),
    }
    assert {r.at_ns for r in found} == {9}


def test_the_kernel_tells(system: Path) -> None:
    put(system / "statm", "100 7 3 1 0 2 0\n")
    put(system / "stat", "cpu  1 2 3 4 5 6 7 250 0 0\ncpu0 1 2 3\n")
    put(system / "cpus" / "cpu5" / "cpufreq" / "scaling_cur_freq", "2400000\n")
    found = sensors.Sensors().look(0)
    assert seen("memory", found) == [("", 7 * os.sysconf("SC_PAGE_SIZE"), None)]
    assert seen("steal", found) == [("", 250 * 10**9 // os.sysconf("SC_CLK_TCK"), None)]
    assert seen("frequency", found) == [("cpu5", 2_400_000, None)]


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n"])
def test_a_kernel_that_counts_no_steal(system: Path, text: str) -> None:
    put(system / "stat", text)
    assert seen("steal", sensors.Sensors().look(0)) == []


def test_throttling_is_counted(system: Path) -> None:
    def count(core: int, name: str, times: int) -> None:
        put(
            system / "cpus" / f"cpu{core}" / "thermal_throttle" / f"{name}_throttle_count",
            f"{times}\n",
        )

    count(5, "core", 7)
    count(6, "package", 1)
    looks = sensors.Sensors()
    assert seen("thermal", looks.look(0)) == [("", None, "nominal")]
    count(6, "package", 2)
    assert seen("thermal", looks.look(1)) == [("", None, "moderate")]
    assert seen("thermal", looks.look(2)) == [("", None, "nominal")]


def test_temperatures(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "chip": [
            SimpleNamespace(label="core", current=51.5),
            SimpleNamespace(label="", current=40.0),
            SimpleNamespace(label="broken", current=None),
        ]
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: told, raising=False)
    assert seen("temperature", sensors.Sensors().look(0)) == []  # there is no chip to ask
    (system / "hwmon" / "hwmon0").mkdir(parents=True)
    assert seen("temperature", sensors.Sensors().look(0)) == [
        ("chip/core", 51_500, None),
        ("chip/1", 40_000, None),
    ]
    told["many"] = [SimpleNamespace(label="", current=1.0)] * 300
    found = sensors.Sensors().look(0)
    assert len(found) == MAX_READINGS
    assert seen("thermal", found)  # temperatures go first where there are too many


@pytest.mark.parametrize(
    ("percent", "plugged", "value", "state"),
    [
        (100.4, False, 1000, "discharging"),
        (81.26, True, 813, "charging"),
        (100, True, 1000, "full"),
        (50, None, 500, None),
    ],
)
def test_battery(
    system: Path,
    monkeypatch: pytest.MonkeyPatch,
    percent: float,
    plugged: bool | None,
    value: int,
    state: str | None,
) -> None:
    battery = SimpleNamespace(percent=percent, power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert seen("battery", sensors.Sensors().look(0)) == []  # nothing supplies power here
    (system / "power" / "BAT0").mkdir(parents=True)
    assert seen("battery", sensors.Sensors().look(0)) == [("", value, state)]
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert seen("battery", sensors.Sensors().look(0)) == []


def test_sensors_that_are_broken_end_no_round(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises() -> Any:
        raise RuntimeError("a driver")

    put(system / "statm", "garbage")
    put(system / "stat", "cpu a b c d e f g h i\n")
    (system / "hwmon" / "hwmon0").mkdir(parents=True)
    (system / "power" / "BAT0").mkdir(parents=True)
    label = SimpleNamespace(label="a\nb", current=1.0)
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"chip": [label]}, raising=False)
    monkeypatch.setattr(psutil, "sensors_battery", raises, raising=False)
    found = sensors.Sensors().look(0)
    assert {r.kind for r in found} == {"thermal", "load"}


def test_a_host_with_an_odd_name(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors.platform, "node", lambda: "a\x1b[2Jb\n" + "c" * 999)
    ((_, _, state),) = seen("host", sensors.still(0))
    assert state is not None
    assert state.isprintable()
    assert len(state) <= 255


def test_once_per_launch(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors.platform, "node", lambda: "a-host")
    assert seen("governor", sensors.still(0)) == []
    put(system / "cpus" / "cpu5" / "cpufreq" / "scaling_governor", "performance\n")
    assert seen("governor", sensors.still(0)) == [("", None, "performance")]
    assert seen("host", sensors.still(0)) == [("", None, "a-host")]


def test_memory_of_this_process() -> None:
    found = sensors.resident_bytes()
    assert found is not None
    assert found > 1_000_000


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (None, "unknown"),
        ("", "unknown"),
        ("Note: No thermal warning level has been recorded\n", "nominal"),
        (
            "Note: No thermal warning level has been recorded\n"
            "Note: No performance warning level has been recorded\n"
            "Note: No CPU power status has been recorded\n",
            "nominal",
        ),
        ("CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 100\n", "nominal"),
        ("CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 67\n", "moderate"),
        ("Thermal Warning Level set to 1\n", "moderate"),
        ("Thermal Warning Level set to 0\n", "nominal"),
    ],
)
def test_a_mac(monkeypatch: pytest.MonkeyPatch, report: str | None, state: str) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(sensors, "told", lambda *command: report)
    looks = sensors.Sensors()
    assert list(looks._thermal(3)) == [Reading(at_ns=3, kind="thermal", state=state)]


def test_cores_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert pinning.usable_cores() == (0, 1, 2)
