"""Which packages are installed, found without importing them."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

from .errors import MissingDependencyError, first_line

TOOLS = ("torch", "coremltools", "onnx", "onnxscript", "onnxruntime", "executorch", "numpy")
"""Distributions whose versions decide what a bundle contains."""


_DISTRIBUTIONS = {
    "PIL": "pillow",
    "google": "protobuf",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Where a package is not called as what brings it."""
_MOST = 200
"""Characters of another library's message: some write essays."""


@dataclass(frozen=True)
class Availability:
    """Whether something can be used on this machine and, if not, what to do."""

    usable: bool
    detail: str
    remedy: str = ""


def version(distribution: str) -> str | None:
    """Installed version of a distribution, None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def tool_versions() -> dict[str, str]:
    """Versions of Python and of the installed `TOOLS`."""
    found = {name: version(name) for name in TOOLS}
    return {"python": platform.python_version()} | {k: v for k, v in found.items() if v}


def check(distributions: tuple[str, ...], extra: str) -> Availability:
    """Whether all `distributions` are installed; `extra` of care-mobile would bring them."""
    versions = {name: version(name) for name in distributions}
    missing = [name for name, found in versions.items() if found is None]
    if missing:
        return Availability(
            False, f"missing: {', '.join(missing)}", f"pip install 'care-mobile[{extra}]'"
        )
    return Availability(True, ", ".join(f"{name} {found}" for name, found in versions.items()))


def load(module: str, extra: str) -> ModuleType:
    """Import a heavy module where it is needed.

    Raises:
        MissingDependencyError: if it is not installed or cannot be loaded here.
    """
    from .importing import check as check_import

    problem = check_import(module)
    if problem:
        raise broken(module, problem.partition(" ")[2], extra)
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a broken installation raises anything
        raise broken(module, why_not(module, error), extra) from error


def why_not(module: str, error: BaseException) -> str:
    """What an import that raised `error` says of a module."""
    top = module.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and error.name == top and _version_of(top) is None:
        return "is not installed"
    kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
    first = first_line(error, "no message")
    return f"cannot be loaded: {kind}{first[:_MOST]}"


def broken(module: str, reason: str, extra: str) -> MissingDependencyError:
    """The error for a module that is missing or cannot be imported; `reason` is its predicate."""
    return MissingDependencyError(
        f"{module.partition('.')[0]} {reason}",
        f"pip install 'care-mobile[{extra}]', or see care-doctor",
    )


def _version_of(package: str) -> str | None:
    return version(_DISTRIBUTIONS.get(package, package))
