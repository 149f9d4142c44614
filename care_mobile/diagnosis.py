"""What can be used on this machine: the findings behind `care-doctor`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Literal, NamedTuple

from packaging.requirements import Requirement
from pydantic import BaseModel

import care_mobile

from .errors import CareError
from .importing import IMPORT_SECONDS, try_import
from .requirements import Availability, tool_versions, version
from .runtimes import RUNTIMES

_REINSTALL = "pip install --force-reinstall 'care-mobile[export]'"


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


OnStep = Callable[[str, int, int], None]
"""Called with what is looked at, how many are done, and how many there are."""


def diagnose(
    on_step: OnStep = lambda what, done, total: None, seconds: float = IMPORT_SECONDS
) -> Diagnosis:
    """Look at this machine. What is called usable was imported, in a process of its own that may
    take so many `seconds`; none of the heavy packages is imported here."""
    return Diagnosis(
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processors=os.cpu_count() or 1,
        tools=tool_versions(),
        packages=_packages(),
        abilities=[*_tried(on_step, seconds), *_devices()],
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


class _Candidate(NamedTuple):
    """A target or runtime whose packages are installed or not, and what it imports."""

    kind: Literal["target", "runtime"]
    name: str
    found: Availability
    modules: tuple[str, ...]


def _candidates() -> list[_Candidate]:
    candidates: list[_Candidate] = []
    for target in care_mobile.TARGETS:
        found = target.availability()
        if found.usable:
            detail = f"{' and '.join(target.precisions)}; {found.detail}"
            found = Availability(True, detail, found.remedy)
        candidates.append(_Candidate("target", target.name, found, target.modules))
    for runtime in RUNTIMES:
        found = runtime.availability()
        candidates.append(_Candidate("runtime", runtime.name, found, runtime.modules))
    return candidates


def _tried(on_step: OnStep, seconds: float) -> Iterable[Ability]:
    """Targets and runtimes; of those whose packages are installed, what they import was tried."""
    candidates = _candidates()
    wanted = {c.modules: c.name for c in candidates if c.found.usable and c.modules}
    # Whoever imports all of another's modules has tried them for it.
    largest = [m for m in wanted if not any(set(m) < set(other) for other in wanted)]
    problems: dict[tuple[str, ...], str | None] = {(): None}

    def attempt(modules: tuple[str, ...]) -> None:
        on_step(f"importing what {wanted[modules]} needs", len(problems) - 1, len(wanted))
        good = any(p is None and set(modules) <= set(m) for m, p in list(problems.items()))
        problems[modules] = None if good else try_import(modules, seconds)

    for group in (largest, [m for m in wanted if m not in largest]):
        with ThreadPoolExecutor(max_workers=2) as threads:
            list(threads.map(attempt, group))
    for candidate in candidates:
        found = candidate.found
        problem = problems[candidate.modules] if found.usable else None
        if problem:
            found = Availability(False, problem, _REINSTALL)
        yield _ability(candidate.kind, candidate.name, found)


def _devices() -> Iterable[Ability]:
    for name, connect in care_mobile.DEVICES.items():
        try:
            found = connect("").availability()
        except CareError as error:  # it needs more than its name
            found = Availability(False, str(error), error.hint)
        except Exception as error:  # one that is in a bad way hides no other
            found = Availability(False, f"{type(error).__name__}: {error}", "look at the device")
        yield _ability("device", name, found)


def _ability(
    kind: Literal["target", "runtime", "device"], name: str, found: Availability
) -> Ability:
    return Ability(
        kind=kind, name=name, usable=found.usable, detail=found.detail, remedy=found.remedy
    )
