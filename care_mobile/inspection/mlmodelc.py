"""Compiled Core ML models, as far as their files tell: texts, and no binary of Apple's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ..coreml.macs import block_parameters, block_work
from ..coreml.mil_text import read_functions
from ..coreml.package import check_tree
from ..coreml.program import Function
from ..coreml.types import TensorType, ValueType
from ..errors import ModelFileError, UsageError
from ..pointers import refuse_pointer_file
from .coreml import IOS
from .coreml_layers import bytes_by_type, layers
from .options import Options
from .results import CoreMLFacts, Inspection, Port, by_count, largest_first, notes

_PROGRAM, _NETWORK, _METADATA = "model.mil", "model.espresso.net", "metadata.json"
_DESCRIPTION = "coremldata.bin"
_LARGEST_TEXT = 2**28
_ORIGINAL = "give the .mlpackage or .mlmodel it was compiled from"
_TYPES = {"Float16": "fp16", "Float32": "fp32", "Double": "fp64", "Int32": "int32", "Int8": "int8"}


def inspect_compiled(path: Path, options: Options) -> Inspection:
    """See `inspect`; there is no forecast, which reads constants that only the original has.

    Raises:
        ModelFileError: if it is no compiled model, or one whose parts are not text.
        UsageError: if a function is wanted that it does not have, or a shape is given.
    """
    check_tree(path)
    if options.shapes:
        raise UsageError(
            f"{path.name} is compiled for its shapes", f"leave out --input-shape, or {_ORIGINAL}"
        )
    return _folder(path, path.name, options)


def _folder(path: Path, name: str, options: Options) -> Inspection:
    metadata = _metadata(path)
    if (path / _PROGRAM).is_file():
        return _program(path, name, metadata, options)
    if options.function is not None:
        raise UsageError(f"{name} holds no program with functions", "leave out --function")
    if (path / _NETWORK).is_file():
        return _network(path, name, metadata)
    inside = sorted(
        item for item in path.iterdir() if item.is_dir() and (item / _DESCRIPTION).is_file()
    )
    if inside:
        return _pipeline(
            path, name, metadata, [_folder(p, p.name, options) for p in inside], options
        )
    if not (path / _DESCRIPTION).is_file() and not metadata:
        raise ModelFileError(f"{name} is no compiled Core ML model (.mlmodelc)", _ORIGINAL)
    raise ModelFileError(
        f"{name} is a compiled Core ML model (.mlmodelc) without a program that can be read",
        _ORIGINAL,
    )


def _program(path: Path, name: str, metadata: Any, options: Options) -> Inspection:
    text = _text(path / _PROGRAM)
    try:
        functions = read_functions(_PROGRAM, text)
    except ModelFileError:
        census = _histogram(metadata)
        if not census:
            raise
        note = "of its program only the compiler's list of operators could be read"
        return _listed(path, name, metadata, "mlProgram", census, note)
    main = _chosen(name, functions, options.function)
    types = main.types()
    work = block_work(main, types)
    inputs = tuple(_value_port(named.name, named.type) for named in main.inputs)
    outputs = tuple(_value_port(name, types[name]) for name in main.outputs if name in types)
    return Inspection(
        name=name,
        size_bytes=_size(path),
        inputs=_ports(metadata, "inputSchema") or inputs,
        outputs=_ports(metadata, "outputSchema") or outputs,
        operations=sum(1 for _ in main.walk()),
        census=by_count(Counter(operation.type for operation in main.walk())),
        parameters=block_parameters(main),
        macs=work.known,
        macs_at_least=work.at_least,
        macs_note=notes(*work.notes()),
        bytes_by_type=bytes_by_type(main),
        layers=largest_first(layers(main, types), options.largest),
        facts=_facts(metadata, "mlProgram", main.opset, tuple(sorted(functions)), main.name),
    )


def _value_port(name: str, kind: ValueType) -> Port:
    if isinstance(kind, TensorType):
        return Port(name=name, dtype=kind.dtype, shape=kind.shape)
    return Port(name=name, kind=str(kind), dtype="", shape=None)


def _chosen(name: str, functions: dict[str, Function], wanted: str | None) -> Function:
    if wanted is not None and wanted not in functions:
        known = ", ".join(map(repr, sorted(functions)))
        raise UsageError(f"{name} has no function {wanted!r}", f"it has {known}")
    return functions.get(wanted or "main") or functions[min(functions)]


def _network(path: Path, name: str, metadata: Any) -> Inspection:
    try:
        listed = json.loads(_text(path / _NETWORK))["layers"]
        census = Counter(str(layer["type"]) for layer in listed)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"{name} is a compiled Core ML model (.mlmodelc) whose layers cannot be read", _ORIGINAL
        ) from error
    note = "weights and shapes of compiled neural networks are not read"
    return _listed(path, name, metadata, "neuralNetwork", census, note)


def _histogram(metadata: Any) -> Counter[str]:
    """Operators by the compiler's count; empty where there is none."""
    listed = metadata.get("mlProgramOperationTypeHistogram")
    entries = listed.items() if isinstance(listed, dict) else ()
    return Counter(
        {
            str(name).rpartition(".")[2]: count
            for name, count in entries
            if isinstance(count, int) and 0 < count < _LARGEST_TEXT
        }
    )


def _listed(
    path: Path, name: str, metadata: Any, kind: str, census: Counter[str], note: str
) -> Inspection:
    """Where only the operators are known."""
    return Inspection(
        name=name,
        size_bytes=_size(path),
        inputs=_ports(metadata, "inputSchema"),
        outputs=_ports(metadata, "outputSchema"),
        operations=census.total(),
        census=by_count(census),
        parameters=None,
        parameters_at_least=True,
        parameters_note=note,
        macs=None,
        macs_at_least=True,
        bytes_by_type={},
        layers=(),
        facts=_facts(metadata, kind),
    )


def _pipeline(
    path: Path, name: str, metadata: Any, parts: list[Inspection], options: Options
) -> Inspection:
    from .pipeline import summed

    return summed(
        parts,
        options.largest,
        name=name,
        size_bytes=_size(path),
        inputs=_ports(metadata, "inputSchema"),
        outputs=_ports(metadata, "outputSchema"),
        facts=_facts(metadata, "pipeline"),
    )


def _text(path: Path) -> str:
    refuse_pointer_file(path)
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise ModelFileError(f"{path.name} is larger than any program's text, 256 MiB")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error


def _metadata(path: Path) -> Any:
    """What the compiler wrote for people; {} where it did not."""
    if not (path / _METADATA).is_file():
        return {}
    try:
        found = json.loads(_text(path / _METADATA))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{_METADATA} of {path.name} cannot be understood", _ORIGINAL
        ) from error
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, dict) else {}


def _ports(metadata: Any, key: str) -> tuple[Port, ...]:
    listed = metadata.get(key)
    entries = (
        [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    )
    return tuple(_port(entry) for entry in entries)


def _port(entry: dict[str, Any]) -> Port:
    kind = str(entry.get("type", "unknown")).lower()
    sizes = entry.get("shape", "")
    if kind == "image":
        sizes = f"{entry.get('height', '')},{entry.get('width', '')}"
    numbers = [part.strip() for part in str(sizes).strip("[]").split(",")]
    valid = all(part.isascii() and part.isdigit() and len(part) < 19 for part in numbers)
    dtype = str(entry.get("colorspace") or entry.get("dataType") or "")
    return Port(
        name=str(entry.get("name", "")),
        kind="tensor" if kind == "multiarray" else kind,
        dtype=_TYPES.get(dtype, dtype),
        shape=tuple(map(int, numbers)) if valid else None,
        flexible=str(entry.get("hasShapeFlexibility", "0")) == "1"
        or str(entry.get("hasSizeFlexibility", "0")) == "1",
    )


def _facts(
    metadata: Any, kind: str, opset: str = "", functions: tuple[str, ...] = (), shown: str = ""
) -> CoreMLFacts:
    version = metadata.get("specificationVersion")
    version = version if isinstance(version, int) and 0 < version < 1000 else 0
    texts = {key: metadata.get(f"{name}") for key, name in _TEXTS.items()}
    notes_of_user = metadata.get("userDefinedMetadata")
    if isinstance(notes_of_user, dict):
        texts |= notes_of_user
    return CoreMLFacts(
        specification=version,
        ios=IOS.get(version),
        opset=opset,
        metadata={str(key): str(text) for key, text in sorted(texts.items()) if text},
        kind=kind,
        compiled=True,
        functions=functions,
        shown=shown,
    )


_TEXTS = {
    "description": "shortDescription", "author": "author", "version": "version",
    "license": "license",
}  # fmt: skip


def _size(path: Path) -> int:
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
