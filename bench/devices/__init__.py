"""Devices: where bundles can be measured. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from care_mobile.errors import UsageError, unknown_name

from .desktop import DesktopDevice
from .functional import InterpreterDevice
from .process import ProcessDevice
from .qemu import QemuDevice
from .script import ScriptDevice
from .station import Device

__all__ = ["DEVICES", "Device", "get_device"]


def _desktop(which: str) -> Device:
    if which:
        raise UsageError("there is one desktop: this machine", "write --device desktop")
    return DesktopDevice()


def _interpreter(which: str) -> Device:
    if which:
        raise UsageError("there is one interpreter", "write --device interpreter")
    return InterpreterDevice()


def _scripted(which: str) -> Device:
    if not which:
        raise UsageError("a scripted device needs its script", "write --device scripted=FILE")
    return ScriptDevice(Path(which))


DEVICES: dict[str, Callable[[str], Device]] = {
    DesktopDevice.name: _desktop,
    ProcessDevice.name: ProcessDevice,
    ScriptDevice.name: _scripted,
    InterpreterDevice.name: _interpreter,
    QemuDevice.name: QemuDevice,
}
"""How to make each device from what follows `name=` on the command line."""


def get_device(text: str) -> Device:
    """The device that `name` or `name=which` means.

    Raises:
        UsageError: if there is none of that name, or it needs another `which`.
    """
    name, _, which = text.partition("=")
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    return DEVICES[name](which)
