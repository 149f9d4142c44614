from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from care_mobile.bench.harness import machine
from care_mobile.bench.protocol.events import Reality


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux that tells nothing; a test writes what it says."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "processor", lambda: "")
    for name, file in {
        "CPU_INFO": "cpuinfo", "DMI": "dmi", "DEVICE_TREE": "model", "MEMORY_INFO": "meminfo",
    }.items():  # fmt: skip
        monkeypatch.setattr(machine, name, tmp_path / file)
    (tmp_path / "dmi").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "reality"),
    [
        ("model name\t: Chip 9\nflags\t\t: fpu hypervisor sse\n", Reality.VIRTUAL),
        ("model name\t: Chip 9\nflags\t\t: fpu sse\n", Reality.PHYSICAL),
        ("model name\t: Chip 9\nFeatures\t: neon\n", Reality.UNKNOWN),
    ],
)
def test_the_cpu_tells_its_name_and_hypervisor(system: Path, text: str, reality: Reality) -> None:
    (system / "cpuinfo").write_text(text)
    found = machine.describe_machine()
    assert (found.soc, found.reality) == ("Chip 9", reality)


@pytest.mark.parametrize(
    ("file", "text", "model", "reality"),
    [
        ("dmi/product_name", "Amazon EC2\n", "Amazon EC2", Reality.VIRTUAL),
        ("dmi/product_name", "KVM Virtual Machine\n", "KVM Virtual Machine", Reality.VIRTUAL),
        ("dmi/sys_vendor", "QEMU\n", "", Reality.VIRTUAL),
        ("dmi/product_name", "XPS 13\n", "XPS 13", Reality.UNKNOWN),
        ("model", "linux,dummy-virt\0", "linux,dummy-virt", Reality.VIRTUAL),
        ("model", "Raspberry Pi 5\0", "Raspberry Pi 5", Reality.UNKNOWN),
        ("dmi/product_name", "a\x1b[2J\n" + "b" * 999, "a [2J " + "b" * 249, Reality.UNKNOWN),
        ("dmi/product_name", b"\xff\xfe", "\ufffd\ufffd", Reality.UNKNOWN),
    ],
)
def test_arm_machines_by_their_names(
    system: Path, file: str, text: str | bytes, model: str, reality: Reality
) -> None:
    (system / file).write_bytes(text.encode() if isinstance(text, str) else text)
    found = machine.describe_machine()
    assert (found.model, found.reality) == (model, reality)


def test_a_machine_that_tells_nothing(system: Path) -> None:
    found = machine.describe_machine()
    assert (found.model, found.soc, found.memory_bytes) == ("", "", None)
    assert found.reality is Reality.UNKNOWN


def test_memory(system: Path) -> None:
    (system / "meminfo").write_text("MemFree:  1 kB\nMemTotal:       2048 kB\n")
    assert machine.describe_machine().memory_bytes == 2048 * 1024


def test_cores_are_those_that_may_be_used(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert machine.describe_machine().cores == 3


def test_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "hw.model": "Mac15,3",
        "machdep.cpu.brand_string": "Apple M3",
        "kern.hv_vmm_present": "0",
        "hw.memsize": "17179869184",
    }
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine, "sysctl", told.get)
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    found = machine.describe_machine()
    assert (found.model, found.soc, found.os) == ("Mac15,3", "Apple M3", "macOS 15.1")
    assert (found.reality, found.memory_bytes) == (Reality.PHYSICAL, 2**34)
    told["kern.hv_vmm_present"] = "1"
    assert machine.describe_machine().reality is Reality.VIRTUAL


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (("/bin/sh", "-c", "echo ' so '"), "so"),
        (("/bin/sh", "-c", "echo so; exit 1"), None),
        (("/bin/sh", "-c", ":"), None),
        (("/no/such/tool",), None),
    ],
)
def test_tools_of_the_system(command: tuple[str, ...], answer: str | None) -> None:
    assert machine.told(*command) == answer
