"""Sums of scaled maps as convolutions that add: ONNX Runtime's blocked layout keeps them.

On x86 and arm64 the runtime stores maps around convolutions in blocks of channels, and adds an
operand to a convolution's result in its accumulator. A product with a factor per channel leaves
that layout, one with a depthwise convolution does not::

    (W h + g G) + x  =  W h + (diag(g) G + x)

On the right both sums disappear into the convolutions W and diag(g).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .onnx_editing import FloatArray, Graph, channels_of, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir


def scaled_sums_to_convolutions(graph: Graph) -> None:
    """Rewrite every sum of a convolution, a scaled map and a map."""
    for outer in graph.nodes("Add"):
        for inner_value, plain in (outer.inputs, outer.inputs[::-1]):
            inner = graph.made_by(inner_value, "Add")
            if inner is None or graph.only_reader(inner_value) is None or plain is None:
                continue
            if _rewrite(graph, outer, inner, plain):
                break


def _rewrite(graph: Graph, outer: ir.Node, inner: ir.Node, plain: ir.Value) -> bool:
    for conv, product in (inner.inputs, inner.inputs[::-1]):
        scaled = _scaled(graph, product)
        if scaled is None or graph.convolution(conv) is None or graph.only_reader(conv) is None:
            continue
        assert conv is not None
        value, factor, multiplication = scaled
        if channels_of(plain) != len(factor):
            continue
        name = str(multiplication.outputs[0].name)
        weight, bias = factor.reshape(-1, 1, 1, 1), np.zeros(len(factor), np.float32)
        scaling = graph.depthwise(outer, value, weight, bias, f"{name}_conv", [multiplication])
        shape = shape_of(outer.outputs[0])
        (rest,) = graph.add(outer, "Add", [scaling, plain], f"{name}_sum", None, [shape])
        (total,) = graph.add(
            outer, "Add", [conv, rest], f"{outer.outputs[0].name}_sum", None, [shape]
        )
        graph.replace(outer.outputs[0], total)
        graph.changed()
        return True
    return False


def _scaled(graph: Graph, value: ir.Value | None) -> tuple[ir.Value, FloatArray, ir.Node] | None:
    """(map, factor per channel, the product), if `value` is that and read only once."""
    product = graph.made_by(value, "Mul")
    if product is None or graph.only_reader(value) is None:
        return None
    for source, factor in (product.inputs, product.inputs[::-1]):
        array, channels = graph.constant(factor), channels_of(source)
        if array is None or source is None or not channels or array.dtype != np.float32:
            continue
        shape = array.shape if array.ndim == 4 else (1, *array.shape)
        if shape == (1, channels, 1, 1):
            return source, array.reshape(channels), product
    return None
