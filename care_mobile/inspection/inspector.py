"""Finds out what kind of model a path is, and asks its reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..bundle import MANIFEST, Bundle
from ..errors import CareError, ModelFileError, UsageError
from ..pointers import refuse_pointer_file
from .options import Options, Shape
from .results import BundleFacts, Inspection

_KNOWN = (
    "give a .mlpackage folder, an .mlmodel, .mlmodelc, .onnx or .pte file, or a bundle of "
    "care-export"
)
_HINTS = {
    ".ort": "ONNX Runtime's own format: give the .onnx file it was made from",
    ".tflite": _KNOWN,
    ".pt": "PyTorch files can run code when opened: export the network first",
    ".pth": "PyTorch files can run code when opened: export the network first",
    ".pt2": "export it to Core ML, ONNX or ExecuTorch first",
    ".ptd": "it holds the weights of a .pte file: give that",
    ".bpte": "it is a bundled program with test inputs: give the .pte file it was made from",
}
_COREML = (".mlpackage", ".mlmodel")
_PTE_MAGIC = slice(4, 8)
_LARGEST_COUNT = 2**63 - 1
"""What no file can exceed; a larger number is a claim, not a count."""


def inspect(
    path: Path,
    largest: int = 10,
    with_plan: bool = False,
    shapes: Mapping[str, Shape] | None = None,
    function: str | None = None,
) -> Inspection:
    """Say what a model file holds. Nothing in it is executed.

    Args:
        path: a `.mlpackage` folder, an `.mlmodel`, `.mlmodelc`, `.onnx` or `.pte` file, or a bundle
            of `care-export`.
        largest: how many of the largest layers to name.
        with_plan: on a Mac, compare the forecast with Core ML's own plan.
        shapes: of inputs that the file leaves open, by name.
        function: of an ML Program with several, or method of a `.pte`; the main one by default.

    Raises:
        ModelFileError: if it is none of these, or is damaged.
        UsageError: if a shape or a function does not fit the file.
        BundleError: if it is a bundle that was altered.
        MissingDependencyError: if the package that reads this kind is not installed, or a plan is
            wanted where there is none.
    """
    path = Path(path)
    options = Options(largest, with_plan, dict(shapes or {}), function)
    if is_bundle(path):
        bundle = Bundle.open(path)
        found = _inspect_model(bundle.model_path, options)
        return found.model_copy(update={"bundle": bundle.name, "bundle_facts": _facts(bundle)})
    return _inspect_model(path, options)


def _facts(bundle: Bundle) -> BundleFacts:
    manifest = bundle.manifest
    return BundleFacts(
        content_sha256=manifest.content_sha256,
        probes=tuple(probe.name for probe in manifest.probes),
        probes_left_out=manifest.probes_left_out,
    )


def is_bundle(path: Path) -> bool:
    """Whether `path` is a bundle's folder.

    By the names as they are: some file systems take Manifest.json of a package for ours.
    """
    try:
        return path.is_dir() and MANIFEST in {item.name for item in path.iterdir()}
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error


def _inspect_model(path: Path, options: Options) -> Inspection:
    kind = _kind(path)
    if options.with_plan and kind not in _COREML:
        raise ModelFileError(f"{path.name} is no Core ML model, which a compute plan needs")
    try:
        found = _read(path, kind, options)
    except CareError:
        raise
    except Exception as error:  # what a file claims can break its reader in any way
        raise ModelFileError(
            f"{path.name} is damaged: {type(error).__name__} while it was read", "copy it again"
        ) from error
    if any(count > _LARGEST_COUNT for count in _counts(found)):
        raise ModelFileError(
            f"{path.name} claims sizes beyond any machine",
            "the file is damaged or hostile: do not use it",
        )
    return found


def _counts(found: Inspection) -> Iterator[int]:
    yield from (found.parameters or 0, found.macs or 0)
    yield from found.bytes_by_type.values()
    for port in (*found.inputs, *found.outputs):
        elements = 1
        for size in port.shape or ():
            elements *= max(size, 1) if isinstance(size, int) else 1
            yield elements
    for layer in found.layers:
        yield from (layer.bytes, layer.parameters, layer.macs or 0)
    if found.forecast is not None:
        yield from (found.forecast.macs, found.forecast.wasted_bytes)


def _read(path: Path, kind: str, options: Options) -> Inspection:
    if kind in _COREML:
        from .coreml import inspect_coreml

        return inspect_coreml(path, options)
    if kind == ".mlmodelc":
        from .mlmodelc import inspect_compiled

        return inspect_compiled(path, options)
    if kind == ".onnx":
        if options.function is not None:
            raise UsageError(f"{path.name} has no functions to choose", "leave out --function")
        from .onnx import inspect_onnx

        return inspect_onnx(path, options)
    from .pte import inspect_pte

    return inspect_pte(path, options)


def _kind(path: Path) -> str:
    """`.mlpackage`, `.mlmodel`, `.mlmodelc`, `.onnx` or `.pte`."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise ModelFileError(f"{path} does not exist", "check the path")
    if path.is_file():
        refuse_pointer_file(path)
    if suffix in _HINTS:
        raise ModelFileError(f"{path.name} cannot be inspected", _HINTS[suffix])
    if suffix == ".mlmodelc" and path.is_dir():
        return suffix
    if suffix == ".mlpackage" or (path / "Manifest.json").is_file():
        return ".mlpackage"
    if not path.is_file():
        raise ModelFileError(f"{path} is no model and no bundle", _KNOWN)
    if suffix in (".onnx", ".pte", ".mlmodel"):
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
