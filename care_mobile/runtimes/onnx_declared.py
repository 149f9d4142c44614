"""ONNX bundles in their declared types: every half-precision result is rounded to half precision.

ONNX Runtime's CPU kernels compute half precision in fp32 and leave out the casts between them, so
that a value of 10^6 passes where a phone's GPU has infinity. Here a file runs as it is declared:
its graph in fp32 with two casts after every result of half precision, which the runtime keeps
because they stand in the file. Sums inside one operation are kept in fp32. For results, never for
latency.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..errors import RuntimeFailure
from ..requirements import Availability, check, load
from .base import AnyArray, LoadedModel, RuntimeOptions, ordered_inputs

if TYPE_CHECKING:
    import onnx

_WIDE = "_before_rounding"
_HALF = "_rounded"
_ERRORS_ONLY = 3


def in_declared_types(
    model: onnx.ModelProto, keep: Collection[str] | None = (), show: bool = False
) -> onnx.ModelProto:
    """`model` as a graph in fp32 that rounds what the file declares as half precision.

    Args:
        keep: names of nodes whose results are not rounded; None rounds nothing: the exact run.
        show: make every floating-point result an output, under its own name.
    """
    import onnx
    from onnx.shape_inference import infer_shapes

    typed = infer_shapes(model)
    halves = _named_halves(typed.graph)
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _widen(wide.graph, halves, keep)
    if show:
        given = {value.name for value in wide.graph.output}
        results = [o for n in model.graph.node for o in n.output if o in halves and o not in given]
        wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in results)
    return wide


def _named_halves(graph: onnx.GraphProto) -> set[str]:
    """Names of all values of half precision, in subgraphs too."""
    import onnx

    half = onnx.TensorProto.FLOAT16
    values = (*graph.value_info, *graph.output, *graph.input)
    found = {v.name for v in values if v.type.tensor_type.elem_type == half}
    for inner in _subgraphs(graph):
        found |= _named_halves(inner)
    return found


def _subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _widen(graph: onnx.GraphProto, halves: Collection[str], keep: Collection[str] | None) -> None:
    import onnx

    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for inner in _subgraphs(graph):
        _widen(inner, halves, keep)
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    nodes = list(graph.node)
    # A node that computes in fp32 is rounded by the cast that follows it.
    kept = {o for node in nodes if keep is None or node.name in keep for o in node.output}
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        placed = graph.node[-1]
        _widen_attributes(placed)
        follows = node.op_type == "Cast" and node.input[0] in kept
        exact = keep is None or node.name in keep or follows
        for index, name in enumerate(node.output):
            if name in halves and not exact:
                placed.output[index] = name + _WIDE
                graph.node.extend(_rounding(name))


def _widen_attributes(node: onnx.NodeProto) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT


def _rounding(name: str) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", [name + _WIDE], [name + _HALF], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [name + _HALF], [name], to=TensorProto.FLOAT),
    ]


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    import numpy as np
    import onnx

    if tensor.data_type == onnx.TensorProto.FLOAT16:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def session_of(model: onnx.ModelProto) -> Any:
    """An InferenceSession of one thread that computes what stands in the graph.

    Raises:
        RuntimeFailure: if onnxruntime refuses it.
    """
    ort: Any = load("onnxruntime", "bench")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _ERRORS_ONLY
    try:
        return ort.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises a dozen unrelated types
        raise RuntimeFailure(f"onnxruntime refuses the rounded graph: {error}") from error


class OnnxDeclaredModel:
    """See the module's docstring."""

    def __init__(self, bundle: Bundle) -> None:
        onnx: Any = load("onnx", "export")
        self._bundle = bundle
        try:
            model = onnx.load(bundle.model_path)
        except Exception as error:  # a damaged file breaks protobuf in many ways
            raise RuntimeFailure(f"{bundle.name}: onnx cannot read it: {error}") from error
        self._session = session_of(in_declared_types(model))
        self._outputs = [spec.name for spec in bundle.manifest.outputs]

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        return self.bind(inputs)()

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], list[AnyArray]]:
        names = [spec.name for spec in self._bundle.manifest.inputs]
        return partial(
            self._infer, dict(zip(names, ordered_inputs(self._bundle, inputs), strict=True))
        )

    def _infer(self, feed: dict[str, AnyArray]) -> list[AnyArray]:
        try:
            outputs: list[AnyArray] = self._session.run(self._outputs, feed)
        except Exception as error:
            raise RuntimeFailure(f"{self._bundle.name}: onnxruntime failed: {error}") from error
        return outputs

    def describe(self) -> dict[str, str]:
        return {
            "runtime": OnnxDeclared.name,
            "version": load("onnxruntime", "bench").__version__,
            "backend": "CPU, every result rounded to its declared type; its speed says nothing",
        }


class OnnxDeclared:
    """See the module's docstring."""

    name = "onnx-declared"
    modules: tuple[str, ...] = ("onnx", "onnxruntime")
    takes_threads = False

    def availability(self) -> Availability:
        return check(("onnx", "onnxruntime"), "export")

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        return OnnxDeclaredModel(bundle)
