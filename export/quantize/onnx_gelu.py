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
        before = _conversion_before(graph, node)
        if before is not None and not kept & set(origins_of(node)):
            _replace(graph, node, before)
            graph.changed()
    return ir.to_proto(edited), graph.places


def _conversion_before(graph: Graph, node: ir.Node) -> ir.Node | None:
    """What makes the input of `node` from integers, if 8-bit integers of steps that are coarse
    enough are also made of its result.
    """
    approximate = node.attributes.get("approximate")
    if approximate is not None and approximate.as_string() != "none":
        return None
    before = graph.made_by(node.inputs[0], "DequantizeLinear")
    after = graph.only_reader(node.outputs[0])
    if before is None or after is None or after.op_type != "QuantizeLinear":
        return None
    scale, step = graph.constant(before.inputs[1]), graph.constant(after.inputs[1])
    if scale is None or step is None or scale.size != 1 or step.size != 1:
        return None
    return before if float(step.item()) >= DISTANCE else None


def _replace(graph: Graph, node: ir.Node, before: ir.Node) -> None:
    import onnx_ir as ir

    x, result = node.inputs[0], node.outputs[0]
    integers, scale, zero_point = before.inputs
    factor = graph.constant(scale)
    assert x is not None and integers is not None and zero_point is not None
    assert factor is not None
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
