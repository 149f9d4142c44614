"""A bundle: a folder with one exported model and `manifest.json`, which says all about it.

A bundle is whole or absent: it is written under another name and renamed. Loading checks every
hash and refuses paths that leave the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from .errors import BundleError, OutputError
from .files import read_small
from .frozen import Count, Frozen, Name, first_problem
from .inputs import Preprocessing
from .probes import MAX_PROBES, Probe, in_folder
from .processes.children import unfinished
from .processes.owners import abandoned
from .tensors import (
    MAX_ELEMENTS,
    MAX_INPUT_ELEMENTS,
    MAX_RANK,
    NUMBERS,
    Side,
    elements,
    is_float,
)
from .text import is_line, shortened

MANIFEST = "manifest.json"
PARTIAL = ".partial-"
"""How names begin of what is being written."""


class Weights(Frozen):
    """Where the weights came from. `random` weights measure speed, never accuracy."""

    source: str
    random: bool
    sha256: str | None = Field(None, description="of the file; without one, of all values")
    entry: str | None = Field(None, description="key of the state dict inside the file")
    entries: tuple[str, ...] = Field((), description="keys of all, where the file holds several")


class TensorSpec(Frozen):
    """A named input or output, as the file has it. A `None` in `shape` is a free dimension.

    `kind` is `image` for pixels (`shape` is (1, C, height, width), values 0 to 255), `string` for
    a classifier's label, and `dictionary` for its scores by label, which runtimes give as an array
    of `shape`.
    """

    name: Name
    shape: tuple[Side | None, ...] = Field(max_length=MAX_RANK)
    dtype: str = Field("float32", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    kind: Literal["tensor", "image", "string", "dictionary"] = "tensor"

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of `shape` is one of these; a free dimension takes any side."""
        return len(shape) == len(self.shape) and all(
            want in (None, have) for want, have in zip(self.shape, shape, strict=True)
        )

    @field_validator("shape")
    @classmethod
    def _of_this_world(cls, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if elements(shape) > MAX_ELEMENTS:
            raise ValueError(f"a tensor has at most {MAX_ELEMENTS} elements")
        return shape


class LeftAlone(Frozen):
    """A place a pass did not change, and why; `unproven` if changing it would change results."""

    place: str
    reason: str
    unproven: bool = False


class PassReport(Frozen):
    """What a pass did and how far results moved: the relative error in `arithmetic`."""

    name: str
    places: int
    relative_error: float
    operations_before: int
    operations_after: int
    left: tuple[LeftAlone, ...] = ()
    arithmetic: str = "float64"


class Census(Frozen):
    """Operations of the exported model, counted in the file itself.

    `delegated` and `fallback` are counts where the runtime splits the graph between an
    accelerated backend and its own kernels, else None; `fallback_reasons` says by node why the
    backend left it. `runtime_by_type` is what the runtime makes of the graph when it loads it,
    where it tells.
    """

    total: int
    by_type: dict[str, int]
    delegated: int | None = None
    fallback: int | None = None
    partitions: int | None = None
    fallback_by_type: dict[str, int] = Field(default_factory=dict)
    fallback_reasons: dict[str, str] = Field(default_factory=dict)
    runtime_by_type: dict[str, int] = Field(default_factory=dict)

    def why_outside(self) -> list[str]:
        """Fallback operations and reasons, those alike together, the most frequent first."""
        groups = Counter(
            (re.sub(r"_\d+$", "", node), reason) for node, reason in self.fallback_reasons.items()
        )
        return [f"{count} {kind} ({reason})" for (kind, reason), count in groups.most_common()]


class ProbeResult(Frozen):
    """Difference between bundle and reference on one probe set.

    Attributes:
        equal_share: of outputs in whole numbers or truth values, the share that is equal; the
            worst of them. PSNR, distance and cosine are of the outputs in floating point.
        finite: no NaN, and infinities only where the reference has the same.
        note: what must be said of the probe set or of the comparison.
    """

    probes: str
    count: int
    max_abs: float
    psnr_db: float
    cosine: float
    top1_agreement: float | None = None
    equal_share: float | None = None
    finite: bool = True
    passed: bool
    note: str = ""


class Parity(Frozen):
    """`verified`, `failed`, or `unverified` with the reason it could not be checked here.

    `left_out` names probe sets that this network cannot be compared on, with the reason.
    """

    status: Literal["verified", "failed", "unverified"]
    runtime: str | None = None
    reason: str = ""
    thresholds: dict[str, float] = Field(default_factory=dict)
    results: tuple[ProbeResult, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)

    def on(self, probes: str) -> ProbeResult | None:
        """The result on one probe set, if it was run."""
        return next((result for result in self.results if result.probes == probes), None)


FORECAST_NOTE = (
    "A forecast by static rules. Apple publishes no list of what its Neural Engine takes; "
    "MLComputePlan on a Mac tells what Core ML decides."
)


class Outlook(str, Enum):
    """Where an operation may end up.

    `neutral` operations compute no floating-point tensor: shapes, indices, and weights that are
    decompressed when the model loads.
    """

    EXPECTED = "expected"
    DOUBTFUL = "doubtful"
    UNLIKELY = "unlikely"
    NEUTRAL = "neutral"


class ForecastSummary(Frozen):
    """Where static rules expect Core ML to run a program's operations; no measurement.

    Attributes:
        operations: count by outlook; every outlook is there.
        macs_share: share of the known multiply-accumulates by outlook, 0 to 1; empty when there
            are none.
        findings: count by rule.
    """

    note: str = FORECAST_NOTE
    operations: dict[Outlook, int]
    macs_share: dict[Outlook, float]
    wasted_bytes: int
    findings: dict[str, int]


ClassesFrom = Literal["--classes", "labels", "folder names"]
"""What says which class of a network a folder of images is."""


class Accuracy(Frozen):
    """Measured on labelled images with the bundle and with the eager network; shares from 0 to 1.

    `agreement` is the share of images on which both give the same class, right or wrong. An image
    for which the bundle's scores hold NaN is wrong, agrees with nothing, and is counted in `nan`.
    """

    data: str
    images: int
    top1: float
    reference_top1: float
    agreement: float
    nan: int = 0
    classes_from: ClassesFrom | None = None
    note: str = Field("", description="what contradicts `classes_from`, if anything")


class Calibration(Frozen):
    """The images that showed a quantizer which values occur.

    `source` is a folder's name, or names what is built in.
    """

    source: str
    images: int
    seed: int


class FileEntry(Frozen):
    sha256: str
    size_bytes: Count


class Manifest(Frozen):
    """Everything there is to know about a bundle without loading its model."""

    schema_version: Literal[1] = 1
    model: Name
    parameters: Count
    macs: Count
    weights: Weights
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    labels: tuple[Name, ...] = Field(
        (), description="names of a classifier's classes, in the network's order"
    )
    target: Name
    precision: Name
    runtime: Name
    options: dict[str, str | int | bool] = Field(default_factory=dict)
    passes: tuple[PassReport, ...]
    rewrites: dict[str, int] = Field(default_factory=dict)
    census: Census
    tools: dict[str, str]
    parity: Parity
    other_parity: tuple[Parity, ...] = Field(
        (), description="the same on further runtimes: Apple's framework, which runs on a Mac only"
    )
    forecast: ForecastSummary | None = Field(
        None, description="Core ML: what static rules expect of the Neural Engine; no measurement"
    )
    calibration: Calibration | None = None
    accuracy: Accuracy | None = None
    kept_float: tuple[str, ...] = Field(
        (),
        description="layers that an integer precision left in float, by node; in fp16 operations "
        "whose results stay in fp32",
    )
    probes: tuple[Probe, ...] = Field(
        (), max_length=MAX_PROBES, description="inputs and the reference's answers, as raw tensors"
    )
    probes_left_out: dict[str, str] = Field(
        default_factory=dict, description="what is not among the probes, and why"
    )
    model_file: str
    files: dict[str, FileEntry]
    content_sha256: str = Field(
        "", description="of the files that are run: the bundle's identity; see docs/bundles.md"
    )
    created: datetime
    integrity: str = Field("", description="sha256 of this manifest with this field empty")

    @field_validator("inputs")
    @classmethod
    def _can_be_made(cls, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        for spec in inputs:
            if spec.dtype not in NUMBERS:
                raise ValueError(f"input {spec.name!r} is of {spec.dtype}, no type of numbers")
            if elements(spec.shape) > MAX_INPUT_ELEMENTS:
                raise ValueError(f"input {spec.name!r} has more than {MAX_INPUT_ELEMENTS} elements")
        return inputs

    @model_validator(mode="after")
    def _probes_fit(self) -> Manifest:
        for probe in self.probes:
            _check_probe(self, probe)
        return self

    @property
    def arrays(self) -> tuple[TensorSpec, ...]:
        """The outputs that runtimes give, in their order: a label, which is no array, is none."""
        return tuple(spec for spec in self.outputs if spec.kind != "string")

    @property
    def parities(self) -> tuple[Parity, ...]:
        """Of every runtime; a bundle stands if none failed."""
        return (self.parity, *self.other_parity)

    @property
    def size_bytes(self) -> int:
        """Bytes of the model: of the files that are run."""
        return sum(entry.size_bytes for name, entry in self.files.items() if not in_folder(name))

    def sealed(self) -> Manifest:
        """A copy whose `content_sha256` matches its files and `integrity` all of it."""
        named = self.model_copy(
            update={"content_sha256": content_digest(self.model_file, self.files)}
        )
        return named.model_copy(update={"integrity": digest(named.model_dump(mode="json"))})


def _check_probe(manifest: Manifest, probe: Probe) -> None:
    """Hold a probe against what the manifest says of its files, inputs and outputs.

    Raises:
        ValueError: if they do not fit.
    """
    told = f"probe {shortened(probe.name)!r}"
    for tensor in probe.tensors:
        entry = manifest.files.get(tensor.file)
        if entry is None:
            raise ValueError(f"{told}: {shortened(tensor.file)!r} is not among the files")
        if entry.size_bytes != tensor.size_bytes:
            raise ValueError(
                f"{told}: {shortened(tensor.file)!r} has {entry.size_bytes} bytes, "
                f"not {tensor.size_bytes} as its shape and type say"
            )
    if [tensor.name for tensor in probe.inputs] != [spec.name for spec in manifest.inputs]:
        raise ValueError(f"{told} has other inputs than the bundle")
    arrays = {spec.name: spec for spec in manifest.arrays}
    if any(tensor.name not in arrays for tensor in probe.outputs):
        raise ValueError(f"{told} has an output that the bundle has not")
    for tensor, spec in zip(probe.inputs, manifest.inputs, strict=True):
        dtype = "float32" if spec.kind == "image" else spec.dtype
        if tensor.dtype != dtype or not spec.takes(tensor.shape):
            raise ValueError(f"{told}: input {tensor.name!r} is not what the bundle takes")
    for tensor in probe.outputs:
        spec = arrays[tensor.name]
        if is_float(tensor.dtype) != is_float(spec.dtype) or not spec.takes(tensor.shape):
            raise ValueError(f"{told}: output {tensor.name!r} is not what the bundle gives")


def content_digest(model_file: str, files: Mapping[str, FileEntry]) -> str:
    """Hex SHA-256 that says which files are run, whatever lies beside them and whenever it was
    made: of the model file's name and a line for every file outside `probes/`, sorted by the UTF-8
    bytes of its path; `docs/bundles.md` has the form."""
    run = {name: entry for name, entry in files.items() if not in_folder(name)}
    lines = [model_file, *(f"{run[name].sha256}  {name}" for name in sorted(run, key=str.encode))]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def digest(content: Mapping[str, object]) -> str:
    """Hex SHA-256 of a manifest's content, its `integrity` left out.

    Of the content as written: a field that a later version adds does not break older manifests.
    """
    bare = {**content, "integrity": ""}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


class Bundle:
    """An opened bundle; `Bundle.open` is the way in."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def name(self) -> str:
        """Name of its folder, also while that is being written."""
        return re.sub(rf"^{re.escape(PARTIAL)}\d+-new-", "", self.path.name)

    @property
    def model_path(self) -> Path:
        return self.path / self.manifest.model_file

    @property
    def size_bytes(self) -> int:
        """Bytes of the model: of the files that are run."""
        return self.manifest.size_bytes

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            BundleError: if the manifest lists none of that name, or it leads out of the folder.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: {shortened(name)!r} is not listed", _AGAIN)
        return _inside(self.path, name)

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open and check the bundle at `path`.

        Raises:
            BundleError: if it is missing, not a bundle, altered, or names files outside itself.
        """
        manifest = read_manifest(path)
        if len(manifest.files) > MAX_FILES:
            raise BundleError(f"{path} lists more than {MAX_FILES} files", _UNTRUSTED)
        for name, entry in manifest.files.items():
            _check_file(path, name, entry)
        if in_folder(manifest.model_file):
            raise BundleError(f"{path}: the model file lies among the probes", _UNTRUSTED)
        if manifest.model_file not in {_top(name) for name in manifest.files} | set(manifest.files):
            told = repr(shortened(manifest.model_file))
            raise BundleError(f"{path}: model file {told} is not listed", _AGAIN)
        _inside(path, manifest.model_file)
        return cls(path, manifest)


_AGAIN = "export it again with care-export"
_UNTRUSTED = "do not use this bundle"
MAX_MANIFEST_BYTES = 2**26
MAX_FILES = 10_000
_MAX_PART_BYTES = 255
_MAX_PATH_BYTES = 1024


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bundle at `path`, its own integrity checked, its files not.

    Raises:
        BundleError: if there is none or it is altered.
    """
    file = path / MANIFEST
    try:
        if not file.is_file():
            raise BundleError(
                f"{path} is not a bundle: no {MANIFEST} in it", "name a bundle's folder"
            )
        text = read_small(file, MAX_MANIFEST_BYTES)
        manifest = Manifest.model_validate_json(text)
        written = json.loads(text)
    except ValidationError as error:
        raise BundleError(f"{file}: {first_problem(error)}", _AGAIN) from error
    except (ValueError, RecursionError) as error:  # what pydantic takes and json does not
        raise BundleError(f"{file} is no manifest: {error}", _AGAIN) from error
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", "check its name and permissions") from error
    if manifest.integrity != digest(written):
        raise BundleError(f"{file} was altered after it was written", _AGAIN)
    content = content_digest(manifest.model_file, manifest.files)
    if manifest.content_sha256 not in ("", content):  # bundles had none at first
        raise BundleError(f"{file}: content_sha256 is not of the files it lists", _UNTRUSTED)
    return manifest.model_copy(update={"content_sha256": content})


def find_bundles(folder: Path) -> list[Path]:
    """Folders directly inside `folder` that hold a manifest, sorted by name."""
    if not folder.is_dir():
        return []
    return sorted(
        p.parent for p in folder.glob(f"*/{MANIFEST}") if not p.parent.name.startswith(PARTIAL)
    )


def _top(name: str) -> str:
    return PurePosixPath(name).parts[0]


def _inside(folder: Path, name: str) -> Path:
    """`folder / name`, refused if it is absolute, climbs out, passes a symbolic link, or is a name
    that no file system has."""
    pure = PurePosixPath(name)
    told = repr(shortened(name))
    if not is_line(name) or len(os.fsencode(name)) > _MAX_PATH_BYTES:
        raise BundleError(f"{folder}: {told} is no name of a file", _UNTRUSTED)
    if any(len(os.fsencode(part)) > _MAX_PART_BYTES for part in pure.parts):
        raise BundleError(f"{folder}: {told} is no name of a file", _UNTRUSTED)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or not pure.parts:
        raise BundleError(f"{folder}: path {told} leaves the bundle", _UNTRUSTED)
    path = folder
    for part in pure.parts:
        path = path / part
        if _is_link(path):
            raise BundleError(f"{folder}: {told} is a symbolic link", _UNTRUSTED)
    return path


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", _UNTRUSTED) from error


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    path = _inside(folder, name)
    try:
        if not path.is_file():
            raise BundleError(f"{folder}: {name} is missing", _AGAIN)
        if path.stat().st_size != entry.size_bytes or file_sha256(path) != entry.sha256:
            raise BundleError(f"{folder}: {name} is not the file the manifest describes", _AGAIN)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", "check its permissions") from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Every file below `folder` but the manifest, with hash and size."""
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            sha256=file_sha256(path), size_bytes=path.stat().st_size
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }


def check_output_folder(folder: Path) -> None:
    """Make sure bundles can be written into `folder`, before minutes of work.

    Raises:
        OutputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        probe = folder / f"{PARTIAL}{os.getpid()}-probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error


def check_replaceable(path: Path) -> None:
    """Refuse to replace anything but a bundle.

    Raises:
        OutputError: if something else is at `path`.
    """
    if path.is_symlink() or (path.exists() and not (path / MANIFEST).is_file()):
        raise OutputError(
            f"{path} exists and is not a bundle", "move it away or choose another --output"
        )


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well.

    An earlier bundle at `path` stays until then. On any error, an interrupt included, the
    temporary folder is removed.

    Raises:
        OutputError: if the disk refuses, or something other than a bundle is at `path`.
    """
    check_replaceable(path)
    partial = path.parent / f"{PARTIAL}{os.getpid()}-new-{path.name}"
    old = path.parent / f"{PARTIAL}{os.getpid()}-old-{path.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with unfinished(partial):
            yield partial
        try:
            if path.exists():
                path.rename(old)
            partial.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def clear(folder: Path) -> None:
    """Empty the folder of a bundle that is being written."""
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Seal and write the manifest into `folder`; returns the sealed one."""
    sealed = manifest.sealed()
    text = json.dumps(sealed.model_dump(mode="json"), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return sealed


def _unwritable(folder: Path, error: OSError) -> OutputError:
    hint = "free some space" if error.errno == 28 else "choose another --output"
    return OutputError(f"cannot write to {folder}: {error.strerror or error}", hint)


def _remove_stale(folder: Path) -> None:
    """Remove what a killed export left behind; give back a bundle it had moved aside."""
    for path in folder.glob(f"{PARTIAL}*"):
        pid, _, name = path.name[len(PARTIAL) :].partition("-")
        if pid.isdecimal() and abandoned(path, int(pid)):
            original = folder / name.removeprefix("old-")
            if name.startswith("old-") and not original.exists():
                path.rename(original)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
