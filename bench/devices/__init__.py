"""Devices: where bundles can be measured. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from care_mobile.errors import UsageError, unknown_name

from .base import Device, SessionStamp
from .desktop import DesktopDevice
from .scripted import ScriptedDevice, read_script

__all__ = ["DEVICES", "DesktopDevice", "Device", "ScriptedDevice", "SessionStamp", "get_device"]


def _desktop(which: str) -> Device:
    if which:
        raise UsageError("there is one desktop: this machine", "write --device desktop")
    return DesktopDevice()


def _scripted(which: str) -> Device:
    if not which:
        raise UsageError("a scripted device needs its script", "write --device scripted=FILE")
    return ScriptedDevice(read_script(Path(which)))


DEVICES: dict[str, Callable[[str], Device]] = {
    DesktopDevice.name: _desktop,
    ScriptedDevice.name: _scripted,
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
