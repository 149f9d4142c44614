"""Finds out what kind of model a path is, and asks its reader."""

from __future__ import annotations

from pathlib import Path

from ..bundle import MANIFEST, Bundle
from ..errors import CareError, ModelFileError
from .results import Inspection

_KNOWN = "give a .mlpackage folder, an .onnx or .pte file, or a bundle of care-export"
_HINTS = {
    ".mlmodelc": "it is compiled for one system: give the .mlpackage it was made from",
    ".ort": "ONNX Runtime's own format: give the .onnx file it was made from",
    ".tflite": _KNOWN,
    ".pt": "PyTorch files can run code when opened: export the network first",
    ".pth": "PyTorch files can run code when opened: export the network first",
    ".pt2": "export it to Core ML, ONNX or ExecuTorch first",
}
_PTE_MAGIC = slice(4, 8)


def inspect(path: Path, largest: int = 10, with_plan: bool = False) -> Inspection:
    """Say what a model file holds. Nothing in it is executed.

    Args:
        path: a `.mlpackage` folder, an `.onnx` or `.pte` file, or a bundle of `care-export`.
        largest: how many of the largest layers to name.
        with_plan: on a Mac, compare the forecast with Core ML's own plan.

    Raises:
        ModelFileError: if it is none of these, or is damaged.
        BundleError: if it is a bundle that was altered.
        MissingDependencyError: if the package that reads this kind is not installed, or a plan is
            wanted where there is none.
    """
    path = Path(path)
    if is_bundle(path):
        bundle = Bundle.open(path)
        found = _inspect_model(bundle.model_path, largest, with_plan)
        return found.model_copy(update={"bundle": bundle.name})
    return _inspect_model(path, largest, with_plan)


def is_bundle(path: Path) -> bool:
    """Whether `path` is a bundle's folder.

    By the names as they are: some file systems take Manifest.json of a package for ours.
    """
    try:
        return path.is_dir() and MANIFEST in {item.name for item in path.iterdir()}
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error


def _inspect_model(path: Path, largest: int, with_plan: bool) -> Inspection:
    kind = _kind(path)
    if with_plan and kind != ".mlpackage":
        raise ModelFileError(f"{path.name} is no Core ML model, which a compute plan needs")
    try:
        return _read(path, kind, largest, with_plan)
    except CareError:
        raise
    except Exception as error:  # what a file claims can break its reader in any way
        raise ModelFileError(
            f"{path.name} is damaged: {type(error).__name__} while it was read", "copy it again"
        ) from error


def _read(path: Path, kind: str, largest: int, with_plan: bool) -> Inspection:
    if kind == ".mlpackage":
        from .mlpackage import inspect_mlpackage

        return inspect_mlpackage(path, largest, with_plan)
    if kind == ".onnx":
        from .onnx import inspect_onnx

        return inspect_onnx(path, largest)
    from .pte import inspect_pte

    return inspect_pte(path, largest)


def _kind(path: Path) -> str:
    """`.mlpackage`, `.onnx` or `.pte`."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise ModelFileError(f"{path} does not exist", "check the path")
    if suffix in _HINTS:
        raise ModelFileError(f"{path.name} cannot be inspected", _HINTS[suffix])
    if suffix in (".mlpackage", ".mlmodel") or (path / "Manifest.json").is_file():
        return ".mlpackage"
    if not path.is_file():
        raise ModelFileError(f"{path} is no model and no bundle", _KNOWN)
    if suffix in (".onnx", ".pte"):
        return suffix
    if _first_bytes(path)[_PTE_MAGIC].startswith(b"ET"):
        return ".pte"
    raise ModelFileError(f"{path.name} is no model of a known kind", _KNOWN)


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(64)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
