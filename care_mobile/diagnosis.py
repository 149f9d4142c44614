"""What can be used on this machine: the findings behind `care-doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement
from pydantic import BaseModel

import care_mobile

from .errors import CareError
from .requirements import Availability, tool_versions, version
from .runtimes import RUNTIMES


class Package(BaseModel):
    """An installed or missing package and whether its version is one we work with."""

    name: str
    installed: str | None
    wanted: str
    fits: bool


class Ability(BaseModel):
    """A target, runtime or device and whether it can be used here."""

    kind: Literal["target", "runtime", "device"]
    name: str
    usable: bool
    detail: str
    remedy: str = ""


class Diagnosis(BaseModel):
    """Everything `care-doctor --json` prints."""

    schema_version: Literal[1] = 1
    system: str
    processors: int
    tools: dict[str, str]
    packages: list[Package]
    abilities: list[Ability]


def diagnose() -> Diagnosis:
    """Look at this machine. Imports none of the heavy packages."""
    return Diagnosis(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processors=os.cpu_count() or 1,
        tools=tool_versions(),
        packages=_packages(),
        abilities=[*_targets(), *_runtimes(), *_devices()],
    )


def _packages() -> list[Package]:
    """The packages this distribution asks for outside its development extra, on this platform."""
    extras = ({"extra": "export"}, {"extra": "bench"}, {"extra": ""})
    found: dict[str, Package] = {}
    for text in metadata.requires("care-mobile") or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if requirement.name == "care-mobile" or (
            marker is not None and not any(marker.evaluate(extra) for extra in extras)
        ):
            continue
        installed = version(requirement.name)
        found[requirement.name] = Package(
            name=requirement.name,
            installed=installed,
            wanted=str(requirement.specifier) or "any",
            fits=installed is not None and requirement.specifier.contains(installed, True),
        )
    return sorted(found.values(), key=lambda package: package.name)


def _targets() -> Iterable[Ability]:
    for target in care_mobile.TARGETS:
        found = target.availability()
        precisions = " and ".join(target.precisions)
        detail = f"{precisions}; {found.detail}" if found.usable else found.detail
        yield _ability("target", target.name, Availability(found.usable, detail, found.remedy))


def _runtimes() -> Iterable[Ability]:
    for runtime in RUNTIMES:
        yield _ability("runtime", runtime.name, runtime.availability())


def _devices() -> Iterable[Ability]:
    for name, connect in care_mobile.DEVICES.items():
        try:
            found = connect("").availability()
        except CareError as error:  # it needs more than its name
            found = Availability(False, str(error), error.hint)
        yield _ability("device", name, found)


def _ability(
    kind: Literal["target", "runtime", "device"], name: str, found: Availability
) -> Ability:
    return Ability(
        kind=kind, name=name, usable=found.usable, detail=found.detail, remedy=found.remedy
    )
