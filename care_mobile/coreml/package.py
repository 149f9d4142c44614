"""A `.mlpackage` folder, opened as what it is: data from elsewhere.

Nothing is executed, links are not followed, and no path leaves the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import ModelFileError
from ..pointers import refuse_pointer
from .features import Feature, read_feature
from .program import Function, ReadBlob, read_function
from .schema import parse
from .weights import WeightFile

NEWEST_SPECIFICATION = 9
"""That of iOS 18; versions 6 to 9 are iOS 15 to 18."""
MAX_PROGRAM_BYTES = 2**31 - 1
_BLOB_PREFIX = "@model_path/"
_UNSAFE = frozenset("\\:\0")
"""In paths: separators of Windows, and the end of a string for the system."""


@dataclass(frozen=True)
class ModelFile:
    """A model of any kind, as its message says.

    Attributes:
        path: of the folder, or of a single file.
        folder: where its weight files lie.
        message: a `Model`.
        size_bytes: of the file, or of all in the folder.
    """

    path: Path
    folder: Path
    message: Any
    size_bytes: int

    @property
    def kind(self) -> str:
        """The name of Apple's message: mlProgram, pipeline, neuralNetwork, ...; or unknown."""
        return model_kind(self.message)


@dataclass(frozen=True)
class MLPackage:
    """One function of an ML Program.

    Attributes:
        path: the folder.
        specification: version of the file format; 6 to 9 are iOS 15 to 18.
        scores: name of a classifier's output dictionary; empty when it is no classifier.
        states: what it keeps between calls.
    """

    path: Path
    specification: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    metadata: Mapping[str, str]
    main: Function
    scores: str = ""
    size_bytes: int = 0
    states: tuple[Feature, ...] = ()


def open_package(path: Path) -> MLPackage:
    """Read a `.mlpackage` folder whose program can be run: one function, no states.

    Raises:
        ModelFileError: if it is none, is damaged, leaves its folder, or is of a kind or version
            that we do not know.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".mlmodel":
        raise ModelFileError(
            f"{path.name} is a single .mlmodel file, the format of neural-network models",
            "convert the network to an ML Program (.mlpackage), the format since iOS 15",
        )
    file = read_folder(path)
    _check_runnable(file)
    return read_program(file, file.message, "main")


def read_folder(path: Path) -> ModelFile:
    """Read a `.mlpackage` folder with a model of any kind.

    Raises:
        ModelFileError: if it is none, is damaged, leaves its folder, or is newer than we know.
    """
    if not path.is_dir():
        raise ModelFileError(f"{path} is not a .mlpackage folder", "give the folder itself")
    if not os.path.lexists(path / "Manifest.json"):
        raise ModelFileError(
            f"{path} has no Manifest.json, so it is no .mlpackage", "give the .mlpackage folder"
        )
    check_tree(path)
    file = _program_file(path)
    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return ModelFile(path, file.parent, _parse(path, file), size)


def read_single_file(path: Path) -> ModelFile:
    """Read a `.mlmodel` file with a model of any kind; weight files lie beside it.

    Raises:
        ModelFileError: if it is none, is damaged or newer than we know.
    """
    message = _parse(path, path)
    if model_kind(message) == "unknown":
        raise ModelFileError(f"{path.name} holds no Core ML model", "copy it again")
    return ModelFile(path, path.parent, message, path.stat().st_size)


def _parse(path: Path, file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_PROGRAM_BYTES:
            raise ModelFileError(f"{file} is larger than any Core ML program, 2 GiB")
        data = file.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{file} cannot be read: {error.strerror}") from error
    refuse_pointer(file.name, data)
    return parse_model(path.name, data)


def parse_model(name: str, data: bytes) -> Any:
    """The `Model` message in `data`, of a version that is known.

    Raises:
        ModelFileError: if it is none.
    """
    try:
        message = parse(data)
    except ValueError as error:
        raise ModelFileError(f"{name} holds no Core ML model: {error}", "copy it again") from error
    if message.specificationVersion > NEWEST_SPECIFICATION:
        raise ModelFileError(
            f"{name} has specification version {message.specificationVersion}; "
            f"versions up to {NEWEST_SPECIFICATION} (iOS 18) are known",
            "convert with minimum_deployment_target iOS 18 or earlier",
        )
    return message


def model_kind(message: Any) -> str:
    kinds = [field.name for field, _ in message.ListFields() if field.number >= 200]
    return kinds[0] if kinds else "unknown"


def _program_file(path: Path) -> Path:
    """The file that the package's manifest names as its root."""
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"Manifest.json of {path.name} cannot be understood", "copy the whole .mlpackage folder"
        ) from error
    file = within(path / "Data", root)
    if not os.path.isfile(file):  # which also answers for names that no file can have
        raise ModelFileError(
            f"Manifest.json of {path.name} names {root!r}, which is not there",
            "copy the whole .mlpackage folder",
        )
    return file


def within(folder: Path, relative: object) -> Path:
    """`folder / relative`, which must stay in the folder on every system."""
    text = relative if isinstance(relative, str) else ""
    parts = PurePosixPath(text).parts
    if not parts or any(part in ("..", "/", "//") for part in parts) or _UNSAFE & set(text):
        raise ModelFileError(
            f"the package refers to {relative!r}, which is no path inside it", "do not trust it"
        )
    return folder.joinpath(*parts)


def check_tree(path: Path) -> None:
    """Raises: ModelFileError: if the folder holds anything but folders and plain files."""
    for item in path.rglob("*"):
        if item.is_symlink() or not (item.is_dir() or item.is_file()):
            kind = "a symbolic link" if item.is_symlink() else "a special file"
            raise ModelFileError(
                f"{path.name} holds {kind}, {str(item.relative_to(path))!r}",
                "a package must be self-contained: replace it by the file",
            )


def _check_runnable(file: ModelFile) -> None:
    name, message = file.path.name, file.message
    if file.kind != "mlProgram":
        raise ModelFileError(
            f"{name} is of type {file.kind}, not an ML Program",
            "convert the network to an ML Program",
        )
    functions = sorted(message.mlProgram.functions)
    if functions != ["main"]:
        raise ModelFileError(
            f"{name} has the functions {functions}; one function called main is supported",
            "export each function to a package of its own",
        )
    states = [feature.name for feature in message.description.state]
    states += [
        i.name for i in message.mlProgram.functions["main"].inputs if i.type.HasField("stateType")
    ]
    if states:
        raise ModelFileError(
            f"{name} keeps state between calls ({states[0]!r}), which is not supported",
            "export the network without states",
        )


def read_program(file: ModelFile, message: Any, function: str) -> MLPackage:
    """One function of the ML Program in a `Model` message.

    Raises:
        ModelFileError: if it is inconsistent.
    """
    described = message.description
    own = next((f for f in described.functions if f.name == function), described)
    return MLPackage(
        path=file.path,
        specification=message.specificationVersion,
        inputs=tuple(read_feature(f) for f in own.input),
        outputs=tuple(read_feature(f) for f in own.output),
        metadata=read_metadata(message),
        main=read_function(
            function, message.mlProgram.functions[function], blob_reader(file.folder)
        ),
        scores=own.predictedProbabilitiesName,
        size_bytes=file.size_bytes,
        states=tuple(read_feature(f) for f in own.state),
    )


def read_metadata(message: Any) -> dict[str, str]:
    """What a model says of itself: description, author, version, license and the user's entries."""
    notes = message.description.metadata
    texts = {
        "description": notes.shortDescription,
        "author": notes.author,
        "version": notes.versionString,
        "license": notes.license,
    }
    return {key: text for key, text in texts.items() if text} | dict(notes.userDefined)


def blob_reader(folder: Path) -> ReadBlob:
    """Reads arrays from the weight files below `folder`; each file is opened once."""
    files: dict[str, WeightFile] = {}

    def read_blob(name: str, offset: int, dtype: str, shape: tuple[int, ...]) -> Any:
        if name not in files:
            files[name] = WeightFile(within(folder, name.removeprefix(_BLOB_PREFIX)))
        return files[name].array(offset, dtype, shape)

    return read_blob
