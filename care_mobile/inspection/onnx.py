"""ONNX files, read by the onnx package. Weights are measured, not loaded."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..requirements import load
from .onnx_graph import (
    check_functions,
    graph_tensors,
    inputs,
    operations,
    operator,
    port,
    tensors,
)
from .onnx_layers import Weights, layers
from .onnx_macs import graph_work
from .onnx_shapes import settle
from .onnx_weights import DTYPES, check_tensor, external_file, stored_bytes
from .options import Options
from .results import Inspection, OnnxFacts, by_count, largest_first, notes

_MOST_FEW = 8
"""Elements of a tensor that may say how often a loop runs."""


def inspect_onnx(path: Path, options: Options) -> Inspection:
    """See `inspect`.

    Raises:
        ModelFileError: if it is no ONNX model, is damaged, or names files outside its folder.
        UsageError: if a shape is given that does not fit.
        MissingDependencyError: if the onnx package is not installed.
    """
    onnx = load("onnx", "export")
    model = _read(onnx, path)
    stored = list(tensors(model))
    for tensor in stored:
        check_tensor(path, tensor)
    check_functions(path.name, model)
    files = sorted({name for name in map(external_file, stored) if name})
    named = [*operations(model.graph), *(n for f in model.functions for n in f.node)]
    weights = Weights(stored, named)
    sizes: Counter[str] = Counter()
    for tensor in weights.tensors.values():
        sizes[DTYPES[tensor.data_type]] += stored_bytes(tensor)
    ports = [tuple(map(port, values)) for values in (inputs(model.graph), model.graph.output)]
    whole = _inlined(onnx, model)
    own = list(graph_tensors(whole.graph))
    few = {tensor.name: tensor for tensor in own if _elements(tensor) <= _MOST_FEW}
    settled = settle(onnx, whole, options.shapes)
    found = layers(whole.graph, Weights(own, operations(whole.graph)), settled.shapes)
    work = graph_work(whole.graph, settled.shapes, few)
    return Inspection(
        name=path.name,
        size_bytes=path.stat().st_size + sum((path.parent / f).stat().st_size for f in files),
        inputs=ports[0],
        outputs=ports[1],
        operations=len(found),
        census=by_count(Counter(map(operator, operations(whole.graph)))),
        parameters=weights.total(),
        macs=work.known,
        macs_at_least=work.at_least,
        macs_note=notes(settled.note, *work.notes(), settled.advice if work.uncounted else ""),
        bytes_by_type=by_count(sizes),
        layers=largest_first(found, options.largest),
        facts=OnnxFacts(
            ir_version=model.ir_version,
            opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
            producer=f"{model.producer_name} {model.producer_version}".strip(),
            external_files=tuple(files),
        ),
    )


def _elements(tensor: Any) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _read(onnx: Any, path: Path) -> Any:
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's errors and the disk's
        raise ModelFileError(f"{path.name} is no ONNX model: {error}", "copy it again") from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.output:
        raise ModelFileError(f"{path.name} holds no ONNX graph", "give an .onnx model")
    return model


def _inlined(onnx: Any, model: Any) -> Any:
    """The model with the bodies of its functions in the place of their calls."""
    copy = type(model)()
    copy.CopyFrom(model)
    if copy.functions:
        with suppress(Exception):  # their calls are then operators that are not known
            inliner = load("onnx.inliner", "export")
            copy = inliner.inline_local_functions(copy)
    return copy
