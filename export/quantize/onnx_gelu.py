"""GELU between 8-bit integers, in integers.

ONNX Runtime has no integer GELU: it converts the map to float, computes erf and converts back. It
has an integer sigmoid, a table of 256 entries, and an integer product, and x sigmoid(SLOPE x) is
within 0.014 of GELU. This stands for GELU where 0.014 is less than a step of the result's 8 bits::

    q -> Dequantize(SLOPE s) -> Sigmoid -> Quantize -> Dequantize
    q -> Dequantize(s) ------------------------------------------> Mul -> Quantize

The runtime makes a table of the first row and one integer product of the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ..targets.onnx_editing import Graph, origins_of, shape_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

SLOPE = 1.7729
"""Makes the largest distance between x sigmoid(SLOPE x) and GELU smallest."""
DISTANCE = 0.014
"""That distance, rounded up."""
_SIGMOID_STEP = 1 / 255


def gelus_in_integers(
    model: onnx.ModelProto, keep_float: Collection[str]
) -> tuple[onnx.ModelProto, int]:
    """`model` with such GELUs replaced, and their number.

    Args:
        model: in QDQ form, 8 bits; not changed.
        keep_float: operations of the captured program that stay float, by name.
    """
    import onnx_ir as ir

    edited = ir.from_proto(model)
    graph = Graph(edited)
    kept = set(keep_float)
    for node in graph.nodes("Gelu"):
        if not kept & set(origins_of(node)) and _is_between_integers(graph, node):
            _replace(graph, node)
            graph.changed()
    return ir.to_proto(edited), graph.places


def _is_between_integers(graph: Graph, node: ir.Node) -> bool:
    """Whether `node` reads and makes 8-bit integers, its result in steps that are coarse enough."""
    approximate = node.attributes.get("approximate")
    if approximate is not None and approximate.as_string() != "none":
        return False
    before = graph.made_by(node.inputs[0], "DequantizeLinear")
    after = graph.only_reader(node.outputs[0])
    if before is None or after is None or after.op_type != "QuantizeLinear":
        return False
    step, read = graph.constant(after.inputs[1]), graph.constant(before.inputs[1])
    return (
        step is not None
        and read is not None
        and step.size == read.size == 1
        and float(step.item()) >= DISTANCE
    )


def _replace(graph: Graph, node: ir.Node) -> None:
    import onnx_ir as ir

    x, result = node.inputs[0], node.outputs[0]
    before = graph.made_by(x, "DequantizeLinear")
    assert x is not None and before is not None
    integers, scale, zero_point = before.inputs
    factor = graph.constant(scale)
    assert integers is not None and zero_point is not None and factor is not None
    name, shape = str(result.name), shape_of(result)
    steep = graph.weights(f"{name}_steep_scale", np.float32(SLOPE) * factor)
    step = graph.weights(f"{name}_sigmoid_scale", np.array(_SIGMOID_STEP, np.float32))
    zero = graph.weights(f"{name}_sigmoid_zero_point", np.array(0, np.uint8))

    def add(op_type: str, inputs: list[ir.Value], suffix: str) -> ir.Value:
        return graph.add(node, op_type, inputs, f"{name}_{suffix}", None, [shape], [node])[0]

    sigmoid = add("Sigmoid", [add("DequantizeLinear", [integers, steep, zero_point], "x")], "sig")
    rounded = add("QuantizeLinear", [sigmoid, step, zero], "rounded")
    rounded.dtype = ir.DataType.UINT8
    share = add("DequantizeLinear", [rounded, step, zero], "share")
    graph.replace(result, add("Mul", [x, share], "product"))
