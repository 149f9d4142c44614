"""What machine this is: what stays the same from round to round. Empty where nobody tells."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from ..protocol.events import Machine, Reality
from .pinning import usable_cores

CPUS = Path("/sys/devices/system/cpu")
CPU_INFO = Path("/proc/cpuinfo")
DMI = Path("/sys/class/dmi/id")
DEVICE_TREE = Path("/proc/device-tree/model")
MEMORY_INFO = Path("/proc/meminfo")
_HYPERVISORS = (
    "qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "parallels", "dummy-virt",
    "amazon ec2", "google compute engine", "virtual machine", "openstack", "alibaba cloud",
)  # fmt: skip
"""In the names that virtual machines give themselves where the cpu has no flag for it."""
_LONGEST = 255


def describe_machine() -> Machine:
    """The machine this process runs on."""
    model = _model()
    return Machine(
        model=model,
        reality=_reality(model),
        os=plain(_os()),
        os_build=plain(f"{platform.system()} {platform.release()}"),
        architecture=plain(platform.machine()),
        soc=plain(_soc()),
        cores=len(usable_cores()),
        memory_bytes=_memory_bytes(),
    )


def read_text(file: Path) -> str | None:
    """What a file of the system says, in a line; None if nothing."""
    try:
        content = file.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return None
    return content.strip(" \t\r\n\0") or None


def told(*command: str) -> str | None:
    """What a tool of the system prints; None if it fails or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def sysctl(name: str) -> str | None:
    return told("/usr/sbin/sysctl", "-n", name)


def plain(text: str | None) -> str:
    """As the protocol takes names: one line of what is seen."""
    seen = "".join(c if c.isprintable() else " " for c in text or "")
    return " ".join(seen.split())[:_LONGEST]


def _model() -> str:
    if sys.platform == "darwin":
        return plain(sysctl("hw.model"))
    return plain(read_text(DMI / "product_name") or read_text(DEVICE_TREE))


def _os() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.version()}"


def cpu_info(key: str) -> str | None:
    """The first value of a key in /proc/cpuinfo."""
    for line in (read_text(CPU_INFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _soc() -> str | None:
    if sys.platform == "darwin":
        found = sysctl("machdep.cpu.brand_string")
    else:
        found = cpu_info("model name") or cpu_info("Hardware")
    return found or platform.processor()


def _reality(model: str) -> Reality:
    """x86 hypervisors announce themselves in the cpu's flags; Arm has no such flag, so only what
    calls itself a virtual machine is known to be one."""
    if sys.platform == "darwin":
        present = sysctl("kern.hv_vmm_present")
        known = {"1": Reality.VIRTUAL, "0": Reality.PHYSICAL}
        return known.get(present or "", Reality.UNKNOWN)
    flags = cpu_info("flags")
    if flags is not None:
        return Reality.VIRTUAL if "hypervisor" in flags.split() else Reality.PHYSICAL
    names = f"{model} {read_text(DMI / 'sys_vendor')}".lower()
    return Reality.VIRTUAL if any(name in names for name in _HYPERVISORS) else Reality.UNKNOWN


def _memory_bytes() -> int | None:
    if sys.platform == "darwin":
        found = sysctl("hw.memsize")
        return int(found) if found and found.isdecimal() else None
    for line in (read_text(MEMORY_INFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal" and value.split()[:1]:
            return int(value.split()[0]) * 1024
    return None
