"""ONNX files, read by the onnx package. Weights are measured, not loaded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..requirements import load
from .onnx_macs import Shapes, node_macs
from .onnx_weights import DTYPES, check_tensor, element_bits, external_file, is_weight, stored_bytes
from .results import Inspection, Layer, OnnxFacts, Port, by_count, count_macs, largest_first

_SMALL = 1024
"""Elements; larger initializers cannot be shapes, so their data do not matter for inference."""


def inspect_onnx(path: Path, largest: int) -> Inspection:
    """See `inspect`.

    Raises:
        ModelFileError: if it is no ONNX model, is damaged, or names files outside its folder.
        MissingDependencyError: if the onnx package is not installed.
    """
    onnx = load("onnx", "export")
    model = _read(onnx, path)
    tensors = list(_tensors(model.graph))
    for tensor in tensors:
        check_tensor(path, tensor)
    files = sorted({name for name in map(external_file, tensors) if name})
    nodes = list(_nodes(model.graph))
    weights = [tensor for tensor in tensors if is_weight(tensor)]
    sizes: Counter[str] = Counter()
    for tensor in weights:
        sizes[DTYPES[tensor.data_type]] += stored_bytes(tensor)
    inputs, outputs = _ports(model.graph.input, tensors), _ports(model.graph.output, ())
    shapes, free_batch = _shapes(onnx, model)
    layers = _layers(model, shapes)
    macs, note = count_macs(layer.macs for layer in layers)
    if free_batch and macs is not None:
        note = "; ".join(filter(None, ["for a batch of 1, which the file leaves free", note]))
    return Inspection(
        name=path.name,
        size_bytes=path.stat().st_size + sum((path.parent / f).stat().st_size for f in files),
        inputs=inputs,
        outputs=outputs,
        operations=len(nodes),
        census=by_count(Counter(map(_operator, nodes))),
        parameters=sum(math.prod(tensor.dims) for tensor in weights),
        macs=macs,
        macs_note=note,
        bytes_by_type=by_count(sizes),
        layers=largest_first(layers, largest),
        facts=OnnxFacts(
            ir_version=model.ir_version,
            opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
            producer=f"{model.producer_name} {model.producer_version}".strip(),
            external_files=tuple(files),
        ),
    )


def _read(onnx: Any, path: Path) -> Any:
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # protobuf's errors and the disk's
        raise ModelFileError(f"{path.name} is no ONNX model: {error}", "copy it again") from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.output:
        raise ModelFileError(f"{path.name} holds no ONNX graph", "give an .onnx model")
    return model


def _nodes(graph: Any) -> Iterator[Any]:
    """All operations, those of branches and loops too; constants are none."""
    for node in graph.node:
        if node.op_type != "Constant":
            yield node
        for inner in _subgraphs(node):
            yield from _nodes(inner)


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    """Initializers and constants; the latter get the name of what they define."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                if node.op_type == "Constant" and node.output:
                    attribute.t.name = node.output[0]
                yield attribute.t
        for inner in _subgraphs(node):
            yield from _tensors(inner)


def _operator(node: Any) -> str:
    standard = node.domain in ("", "ai.onnx")
    return str(node.op_type) if standard else f"{node.domain}::{node.op_type}"


def _ports(values: Any, tensors: Any) -> tuple[Port, ...]:
    constants = {tensor.name for tensor in tensors}  # old files list initializers as inputs
    return tuple(_port(value) for value in values if value.name not in constants)


def _port(value: Any) -> Port:
    kind = str(value.type.WhichOneof("value") or "unknown").removesuffix("_type")
    if kind != "tensor":
        return Port(name=value.name, kind=kind, dtype="", shape=None)
    tensor = value.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in tensor.shape.dim
    )
    dtype = DTYPES.get(tensor.elem_type, f"type{tensor.elem_type}")
    return Port(name=value.name, dtype=dtype, shape=shape if tensor.HasField("shape") else None)


def _shapes(onnx: Any, model: Any) -> tuple[Shapes, bool]:
    """Shape of every value whose shape can be inferred, and whether a batch of 1 was assumed.

    Changes the model: large weights lose their data, which inference would only copy.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    free_batch = False
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in constants and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
            free_batch = True
    for tensor in _tensors(model.graph):
        if math.prod(tensor.dims) > _SMALL:
            tensor.ClearField("raw_data")
    with suppress(Exception):  # what the file declares remains
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    found: dict[str, tuple[int, ...]] = {}
    graph = model.graph
    for value in [*graph.input, *graph.value_info, *graph.output]:
        port = _port(value)
        sizes = tuple(n for n in port.shape or (None,) if isinstance(n, int))
        if port.shape is not None and len(sizes) == len(port.shape):
            found[port.name] = sizes
    found |= {tensor.name: tuple(tensor.dims) for tensor in _tensors(graph)}
    return found, free_batch


def _layers(model: Any, shapes: Shapes) -> list[Layer]:
    """Every operation of the main graph; a weight counts for the first that uses it."""
    weights = {tensor.name: tensor for tensor in _tensors(model.graph) if is_weight(tensor)}
    functions = {(function.domain, function.name) for function in model.functions}
    layers = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        own = [weights.pop(name) for name in node.input if name in weights]
        known = (node.domain, node.op_type) not in functions and not any(_subgraphs(node))
        layers.append(
            Layer(
                name=node.name or (node.output[0] if node.output else node.op_type),
                operator=_operator(node),
                bytes=sum(math.prod(t.dims) * element_bits(t.data_type) // 8 for t in own),
                parameters=sum(math.prod(t.dims) for t in own),
                macs=node_macs(node, shapes) if known else None,
            )
        )
    return layers
