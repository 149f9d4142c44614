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
from .program import Function, read_function
from .schema import parse
from .weights import WeightFile

NEWEST_SPECIFICATION = 9
"""That of iOS 18; versions 6 to 9 are iOS 15 to 18."""
MAX_PROGRAM_BYTES = 2**31 - 1
_BLOB_PREFIX = "@model_path/"
_UNSAFE = frozenset("\\:\0")
"""In paths: separators of Windows, and the end of a string for the system."""
_COLORS = {10: "grayscale", 20: "RGB", 30: "BGR", 40: "grayscale16"}
_ARRAYS = {65552: "fp16", 65568: "fp32", 65600: "fp64", 131104: "int32", 131080: "int8"}


@dataclass(frozen=True)
class Feature:
    """An input or output as the model's interface describes it.

    Attributes:
        kind: tensor, image, dictionary, ...
        dtype: of a tensor; the colour layout of an image.
        shape: of a tensor; (height, width) of an image. Empty when unspecified.
        flexible: whether other shapes are allowed.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    flexible: bool = False


@dataclass(frozen=True)
class MLPackage:
    """An ML Program with one function.

    Attributes:
        path: the folder.
        specification: version of the file format; 6 to 9 are iOS 15 to 18.
        scores: name of a classifier's output dictionary; empty when it is no classifier.
    """

    path: Path
    specification: int
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    metadata: Mapping[str, str]
    main: Function
    scores: str = ""
    size_bytes: int = 0


def open_package(path: Path) -> MLPackage:
    """Read a `.mlpackage` folder.

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
    if not path.is_dir():
        raise ModelFileError(f"{path} is not a .mlpackage folder", "give the folder itself")
    if not os.path.lexists(path / "Manifest.json"):
        raise ModelFileError(
            f"{path} has no Manifest.json, so it is no .mlpackage", "give the .mlpackage folder"
        )
    _check_tree(path)
    program = _program_file(path)
    try:
        if program.stat().st_size > MAX_PROGRAM_BYTES:
            raise ModelFileError(f"{program} is larger than any Core ML program, 2 GiB")
        model = parse(program.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{program} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelFileError(
            f"{path.name} holds no Core ML model: {error}", "copy it again"
        ) from error
    _check_kind(path, model)
    return _read(path, program.parent, model)


def _program_file(path: Path) -> Path:
    """The file that the package's manifest names as its root."""
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"Manifest.json of {path.name} cannot be understood", "copy the whole .mlpackage folder"
        ) from error
    file = _within(path / "Data", root)
    if not os.path.isfile(file):  # which also answers for names that no file can have
        raise ModelFileError(
            f"Manifest.json of {path.name} names {root!r}, which is not there",
            "copy the whole .mlpackage folder",
        )
    return file


def _within(folder: Path, relative: object) -> Path:
    """`folder / relative`, which must stay in the folder on every system."""
    text = relative if isinstance(relative, str) else ""
    parts = PurePosixPath(text).parts
    if not parts or any(part in ("..", "/", "//") for part in parts) or _UNSAFE & set(text):
        raise ModelFileError(
            f"the package refers to {relative!r}, which is no path inside it", "do not trust it"
        )
    return folder.joinpath(*parts)


def _check_tree(path: Path) -> None:
    for item in path.rglob("*"):
        if item.is_symlink() or not (item.is_dir() or item.is_file()):
            kind = "a symbolic link" if item.is_symlink() else "a special file"
            raise ModelFileError(
                f"{path.name} holds {kind}, {str(item.relative_to(path))!r}",
                "a package must be self-contained: replace it by the file",
            )


def _check_kind(path: Path, model: Any) -> None:
    if model.specificationVersion > NEWEST_SPECIFICATION:
        raise ModelFileError(
            f"{path.name} has specification version {model.specificationVersion}; "
            f"versions up to {NEWEST_SPECIFICATION} (iOS 18) are known",
            "convert with minimum_deployment_target iOS 18 or earlier",
        )
    if not model.HasField("mlProgram"):
        kinds = [f.name for f, _ in model.ListFields() if f.number >= 200]
        raise ModelFileError(
            f"{path.name} is of type {kinds[0] if kinds else 'unknown'}, not an ML Program",
            "convert the network to an ML Program",
        )
    functions = sorted(model.mlProgram.functions)
    if functions != ["main"]:
        raise ModelFileError(
            f"{path.name} has the functions {functions}; one function called main is supported",
            "export each function to a package of its own",
        )
    states = [feature.name for feature in model.description.state]
    states += [
        i.name for i in model.mlProgram.functions["main"].inputs if i.type.HasField("stateType")
    ]
    if states:
        raise ModelFileError(
            f"{path.name} keeps state between calls ({states[0]!r}), which is not supported",
            "export the network without states",
        )


def _read(path: Path, folder: Path, model: Any) -> MLPackage:
    files: dict[str, WeightFile] = {}

    def read_blob(name: str, offset: int, dtype: str, shape: tuple[int, ...]) -> Any:
        if name not in files:
            relative = name.removeprefix(_BLOB_PREFIX)
            files[name] = WeightFile(_within(folder, relative))
        return files[name].array(offset, dtype, shape)

    described = model.description
    notes = described.metadata
    texts = {
        "description": notes.shortDescription,
        "author": notes.author,
        "version": notes.versionString,
        "license": notes.license,
    }
    return MLPackage(
        path=path,
        specification=model.specificationVersion,
        inputs=tuple(_feature(f) for f in described.input),
        outputs=tuple(_feature(f) for f in described.output),
        metadata={k: v for k, v in texts.items() if v} | dict(notes.userDefined),
        main=read_function("main", model.mlProgram.functions["main"], read_blob),
        scores=described.predictedProbabilitiesName,
        size_bytes=sum(f.stat().st_size for f in path.rglob("*") if f.is_file()),
    )


def _feature(message: Any) -> Feature:
    kinds = [f.name.removesuffix("Type") for f, _ in message.type.ListFields() if f.number < 1000]
    if kinds == ["multiArray"]:
        array = message.type.multiArrayType
        flexible = array.HasField("enumeratedShapes") or array.HasField("shapeRange")
        dtype = _ARRAYS.get(array.dataType, f"type{array.dataType}")
        return Feature(message.name, "tensor", dtype, tuple(array.shape), flexible)
    if kinds == ["image"]:
        image = message.type.imageType
        flexible = image.HasField("enumeratedSizes") or image.HasField("imageSizeRange")
        color = _COLORS.get(image.colorSpace, f"layout{image.colorSpace}")
        return Feature(message.name, "image", color, (image.height, image.width), flexible)
    return Feature(message.name, kinds[0] if kinds else "unknown", "", ())
