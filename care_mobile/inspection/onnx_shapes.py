"""Shapes inside an ONNX model, worked out by the onnx package from those of its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .onnx_graph import graph_tensors, graphs, inputs, operations, port, subgraphs
from .options import Shape, check_names, check_shape

Shapes = Mapping[str, Shape]
"""Of the values whose shape is known, by name."""
_SMALL = 1024
"""Elements; larger initializers cannot be shapes, so their data do not matter for inference."""
_LONGEST = 2**31
_DEEPEST_LOOPS = 4
"""Loops inside each other whose values are followed."""


@dataclass(frozen=True)
class Settled:
    """`note` says what was assumed of the inputs; `advice` what to do if shapes are missing."""

    shapes: Shapes
    note: str
    advice: str


def settle(onnx: Any, model: Any, given: Mapping[str, Shape]) -> Settled:
    """Shape of every value whose shape follows from the inputs.

    Changes the model: inputs get their shapes, large weights lose their data.

    Args:
        given: shapes of inputs that the file leaves open; of the others a batch becomes 1.

    Raises:
        UsageError: if a shape is given for what is no input, or one that it does not take.
    """
    symbols = _symbols(model.graph, given)
    _forget(model.graph)
    notes, still_open = [], []
    for value in inputs(model.graph):
        before = port(value).shape
        if before is None:
            continue
        dims = value.type.tensor_type.shape.dim
        assumed = _settle_input(dims, given.get(value.name), symbols)
        after = [dim.dim_value for dim in dims if dim.HasField("dim_value")]
        if value.name in given:
            notes.append(f"for {value.name} {_text(given[value.name])}, as given")
        elif assumed:
            notes.append("for a batch of 1, which the file leaves free")
        if len(after) < len(dims):
            sizes = [str(dim.dim_value) if dim.HasField("dim_value") else "?" for dim in dims]
            still_open.append(f"{value.name}={'x'.join(sizes)}")
    for graph in graphs(model.graph):
        for value in (*graph.value_info, *graph.output):
            _substitute(value.type.tensor_type.shape.dim, symbols)
    advice = "".join(
        f"--input-shape {text}, with a number for every ?, settles it" for text in still_open[:1]
    )
    return Settled(_infer(onnx, model), "; ".join(dict.fromkeys(notes)), advice)


def _symbols(graph: Any, given: Mapping[str, Shape]) -> dict[str, int]:
    """Sizes of the named axes, from the shapes that are given."""
    values = {value.name: value for value in inputs(graph)}
    check_names(given, values)
    symbols: dict[str, int] = {}
    for name, shape in given.items():
        declared = port(values[name])
        if declared.kind != "tensor":
            raise UsageError(
                f"--input-shape names {name!r}, which is a {declared.kind}",
                "only tensors have a shape",
            )
        if declared.shape is None:
            continue
        # A size of 0 takes no data: some tools write it for one that is not known.
        check_shape(name, shape, [size or None for size in declared.shape])
        for size, own in zip(declared.shape, shape, strict=True):
            if isinstance(size, str) and symbols.setdefault(size, own) != own:
                raise UsageError(
                    f"--input-shape gives the axis {size!r} two sizes, {symbols[size]} and {own}",
                    "axes of one name have one size",
                )
    for value in values.values():
        axes = port(value).shape or ()
        if value.name not in given and len(axes) > 1 and isinstance(axes[0], str):
            symbols.setdefault(axes[0], 1)
    return symbols


def _forget(graph: Any) -> None:
    """Sizes that cannot be: inference would take them for sizes."""
    for inner in graphs(graph):
        for value in (*inner.input, *inner.value_info, *inner.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and not 0 <= dim.dim_value < _LONGEST:
                    dim.ClearField("dim_value")


def _settle_input(dims: Any, given: Shape | None, symbols: Mapping[str, int]) -> bool:
    """Whether a batch of 1 was assumed."""
    if given is not None:
        if not dims:
            for size in given:
                dims.add(dim_value=size)
        for dim, size in zip(dims, given, strict=True):
            dim.dim_value = size
        return False
    assumed = len(dims) > 0 and not dims[0].dim_value
    if assumed:
        dims[0].dim_value = symbols.get(dims[0].dim_param, 1)
        assumed = dims[0].dim_value == 1
    for dim in dims:
        if dim.HasField("dim_value") and not dim.dim_value:
            dim.ClearField("dim_value")
    _substitute(dims, symbols)
    return assumed


def _substitute(dims: Any, symbols: Mapping[str, int]) -> None:
    for dim in dims:
        if dim.dim_param in symbols:
            dim.dim_value = symbols[dim.dim_param]


def _infer(onnx: Any, model: Any) -> Shapes:
    for tensor in graph_tensors(model.graph):
        if math.prod(tensor.dims) > _SMALL:
            tensor.ClearField("raw_data")
    standard = _standard(model)
    found = _inferred(onnx, standard)
    for _ in range(_DEEPEST_LOOPS):
        if not _bind_loops(standard.graph, found):
            break
        found = _inferred(onnx, standard)
    return _without_growing_loops(standard.graph, found)


def _inferred(onnx: Any, model: Any) -> dict[str, Shape]:
    """What can be inferred with the shapes that the file declares, else without them."""
    found = _known(model.graph)
    standard = type(model)()
    standard.CopyFrom(model)
    for bare in (False, True):
        # Declared shapes that contradict each other stop inference: it is then done without them.
        if bare:
            for graph in graphs(standard.graph):
                graph.ClearField("value_info")
            for value in standard.graph.output:
                value.ClearField("type")  # of a stand-in's result it may be another
        for data_prop in (True, False):
            with suppress(Exception):
                inferred = onnx.shape_inference.infer_shapes(standard, data_prop=data_prop)
                found = _known(inferred.graph) | found
        if all(name in found for node in operations(standard.graph) for name in node.output):
            break
    return found


def _bind_loops(graph: Any, found: Mapping[str, Shape]) -> bool:
    """Give the values that loops carry the shapes they start with; whether there were any."""
    bound = False
    for node, body in _loops(graph):
        for name, value in zip(node.input[2:], body.input[2:], strict=False):
            tensor = value.type.tensor_type
            if name in found and not tensor.HasField("shape"):
                tensor.shape.SetInParent()
                for size in found[name]:
                    tensor.shape.dim.add(dim_value=size)
                bound = True
    return bound


def _without_growing_loops(graph: Any, found: dict[str, Shape]) -> Shapes:
    """Without the values of loops that hand on another shape than they were given."""
    for _, body in _loops(graph):
        given, handed_on = body.input[2:], body.output[1:]
        if any(
            found.get(before.name) != found.get(after.name)
            for before, after in zip(given, handed_on, strict=False)
        ):
            inside = {name for inner in operations(body) for name in inner.output}
            found = {name: shape for name, shape in found.items() if name not in inside}
    return found


def _loops(graph: Any) -> Iterator[tuple[Any, Any]]:
    for node in operations(graph):
        if node.op_type == "Loop":
            for body in subgraphs(node):
                yield node, body


def _known(graph: Any) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for inner in graphs(graph):
        for value in (*inner.input, *inner.value_info, *inner.output):
            shape = port(value).shape
            sizes = tuple(n for n in shape or (None,) if isinstance(n, int))
            if shape is not None and len(sizes) == len(shape):
                found[value.name] = sizes
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph_tensors(graph)}


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _standard(model: Any) -> Any:
    """A copy in which operators of ONNX Runtime's own are standard ones of the same shapes."""
    copy = type(model)()
    copy.CopyFrom(model)
    for graph in graphs(copy.graph):
        for node in graph.node:
            if node.domain == RUNTIME and node.op_type == "MatMulNBits":
                _unpack(graph, node)
            turned = not node.op_type.endswith("Gemm") and any(
                a.name in _OTHER_AXES and a.i for a in node.attribute
            )
            if node.domain == RUNTIME and node.op_type in _EQUIVALENTS and not turned:
                name, pick = _EQUIVALENTS[node.op_type]
                chosen = [node.input[i] for i in pick(len(node.input))]
                node.op_type, node.domain = name, ""
                del node.input[:]
                node.input.extend(chosen)
                kept = [a for a in node.attribute if a.name in _ATTRIBUTES.get(name, ())]
                del node.attribute[:]
                node.attribute.extend(kept)
    return copy


def _unpack(graph: Any, node: Any) -> None:
    """Give a product the weight that its packed one stands for; only the shape matters."""
    sizes = {a.name: a.i for a in node.attribute}
    name = f"{node.output[0]}, unpacked"
    graph.initializer.add(name=name, data_type=1, dims=[sizes.get("K", 0), sizes.get("N", 0)])
    node.op_type = "FusedMatMul"
    node.input[1] = name


RUNTIME = "com.microsoft"
_OTHER_AXES = frozenset({"channels_last", "transA", "transB", "transBatchA", "transBatchB"})
"""Attributes with which an operator of ONNX Runtime is no standard one."""
_WINDOW = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
_ATTRIBUTES = {
    "Conv": (*_WINDOW, "group"),
    "AveragePool": (*_WINDOW, "count_include_pad"),
    "Gemm": ("transA", "transB"),
    "Concat": ("axis",),
}


def _first(*places: int) -> Callable[[int], list[int]]:
    return lambda count: [place for place in places if place < count]


_EQUIVALENTS: dict[str, tuple[str, Callable[[int], list[int]]]] = {
    "FusedConv": ("Conv", _first(0, 1)),
    "FusedMatMul": ("MatMul", _first(0, 1)),
    "FusedGemm": ("Gemm", _first(0, 1)),
    "QGemm": ("Gemm", _first(0, 3)),
    "MatMulIntegerToFloat": ("MatMul", _first(0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", _first(0, 1)),
    "QLinearAdd": ("Add", _first(0, 3)),
    "QLinearMul": ("Mul", _first(0, 3)),
    "QLinearAveragePool": ("AveragePool", _first(0)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", _first(0)),
    "QLinearConcat": ("Concat", lambda count: list(range(2, count, 3))),
} | {
    name: ("Identity", _first(0))
    for name in (
        "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "Gelu", "FastGelu", "BiasGelu",
        "QuickGelu", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
        "SimplifiedLayerNormalization", "LayerNormalization", "BiasAdd", "QuantizeLinear",
        "DequantizeLinear", "RotaryEmbedding", "Trilu",
    )
}  # fmt: skip
"""Operator of ONNX Runtime -> a standard one, and which of its inputs that takes."""
