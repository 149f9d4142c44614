"""Payloads of ExecuTorch's Core ML delegate: a `.mlpackage` folder flattened into one block.

Files come first, then JSON that describes them, written backwards from the end. Several methods may
share a folder, which then lies elsewhere in the program and is referred to by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..coreml.macs import block_parameters, block_work, distinct_weights
from ..coreml.package import model_kind, parse_model
from ..coreml.program import read_function
from ..coreml.types import TensorType
from ..errors import ModelFileError
from .coreml_layers import constant_bytes, layers
from .partition import Partition, Weight

BACKEND = "CoreMLBackend"
_REFERENCE = b"CMJR"
_LONGEST_DESCRIPTION = 2**22
_DEEPEST = 16
_MODEL = "model.mlmodel"


def read_payload(data: memoryview, name: str, named: Mapping[str, memoryview]) -> Partition | None:
    """What one payload holds; None if it is not of the kind described here."""
    try:
        function = ""
        if bytes(data[: len(_REFERENCE)]) == _REFERENCE:
            reference = json.loads(bytes(data[len(_REFERENCE) :]))
            data, function = named[reference["key"]], reference.get("functionName") or ""
        files = _files(data)
        model = next(content for path, content in files.items() if path.endswith(_MODEL))
        return _partition(bytes(model), name, function)
    except (ModelFileError, LookupError, ValueError, TypeError, StopIteration, RecursionError):
        return None


def _files(data: memoryview) -> dict[str, memoryview]:
    """Content by path."""
    tail = bytes(data[-_LONGEST_DESCRIPTION:])[::-1].decode("utf-8", "replace")
    nodes = json.JSONDecoder().raw_decode(tail)[0]["nodes"]
    found: dict[str, memoryview] = {}
    _walk(data, nodes, len(nodes) - 1, "", 0, found)
    return found


def _walk(
    data: memoryview, nodes: Any, index: int, path: str, depth: int, found: dict[str, memoryview]
) -> None:
    """Children come before their folder, so that no folder can hold itself."""
    node = nodes[index]
    if node["kind"] == 0:
        region = node["dataRegion"]
        start, end = region["offset"], region["offset"] + region["size"]
        if not 0 <= start <= end <= len(data):
            raise ValueError("a file ends behind its payload")
        found[path] = data[start:end]
        return
    for name, child in node["children"].items():
        if not 0 <= child < index or depth > _DEEPEST:
            raise ValueError("a folder that holds itself")
        _walk(data, nodes, child, f"{path}/{name}", depth + 1, found)


def _partition(model: bytes, name: str, function: str) -> Partition | None:
    message = parse_model(name, model)
    if model_kind(message) != "mlProgram":
        return None
    functions = message.mlProgram.functions
    shown = function if function in functions else _only(functions)
    main = read_function(shown, functions[shown], _unread)
    types = main.types()
    own = list(layers(main, types))
    weights = tuple(
        Weight(constant.type.dtype, _elements(constant.type), constant_bytes(constant), index)
        for index, constant in enumerate(distinct_weights(main.walk()))
        if isinstance(constant.type, TensorType)
    )
    found = tuple(layer.model_copy(update={"name": f"{name}, {layer.name}"}) for layer in own)
    return Partition(found, weights, block_work(main, types), block_parameters(main))


def _only(functions: Any) -> str:
    return "main" if "main" in functions else next(iter(sorted(functions)))


def _elements(kind: TensorType) -> int:
    return math.prod(size or 0 for size in kind.shape or ())


def _unread(name: str, offset: int, dtype: str, shape: tuple[int, ...]) -> Any:
    raise ModelFileError(f"the weights in {Path(name).name} are not read")
