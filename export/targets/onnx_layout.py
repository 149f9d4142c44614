"""Maps that come from reshapes and splits, led into ONNX Runtime's blocked layout.

A concatenation keeps the layout if all its parts have it, and what is added to the concatenation
or reads it then stays in it too. A depthwise convolution with ones on a part that comes from
elsewhere costs less than reordering the whole (and the sums after it) out and in again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .onnx_blocks import blocks
from .onnx_editing import BLOCK, Graph, channels_of

if TYPE_CHECKING:
    import onnx_ir as ir


def concatenations_of_convolutions(graph: Graph) -> None:
    """Rewrite both concatenations of every block whose parts fill whole layout blocks."""
    for block in blocks(graph):
        for concat in (block.features, block.joined):
            parts = [value for value in concat.inputs if value is not None]
            foreign = [v for v in parts if not _is_blocked(graph, v)]
            if not foreign or any(channels_of(v) % BLOCK for v in parts):
                continue
            for value in foreign:
                _lead_in(graph, concat, value)
            graph.changed()


def _is_blocked(graph: Graph, value: ir.Value) -> bool:
    """Whether a convolution yields `value`, or a sum that begins with one."""
    if graph.convolution(value) is not None:
        return True
    total = graph.made_by(value, "Add")
    return total is not None and any(graph.convolution(v) is not None for v in total.inputs)


def _lead_in(graph: Graph, concat: ir.Node, value: ir.Value) -> None:
    channels = channels_of(value)
    ones = np.ones((channels, 1, 1, 1), np.float32)
    bias = np.zeros(channels, np.float32)
    led = graph.depthwise(concat, value, ones, bias, f"{value.name}_blocked")
    index = concat.inputs.index(value)
    concat.replace_input_with(index, led)
