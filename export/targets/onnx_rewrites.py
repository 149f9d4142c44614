"""The rewrites of an ONNX graph, in order. A new one is a function on `Graph` and a line below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .onnx_attention import heads_before_elementwise
from .onnx_branches import adjacent_branches_together, local_branches_over_all_channels
from .onnx_closing import scaled_sums_to_convolutions
from .onnx_editing import Graph
from .onnx_layout import concatenations_of_convolutions

if TYPE_CHECKING:
    import onnx_ir as ir

REWRITES: Mapping[str, Callable[[Graph], None]] = {
    "heads-before-elementwise": heads_before_elementwise,
    "scaled-sums-to-convolutions": scaled_sums_to_convolutions,
    "local-branches-over-all-channels": local_branches_over_all_channels,
    # What is left are groups that fill layout blocks.
    "adjacent-branches-together": adjacent_branches_together,
    # Last: it leads in what still is no convolution.
    "concatenations-of-convolutions": concatenations_of_convolutions,
}


FOR_FLOAT = frozenset({"concatenations-of-convolutions", "scaled-sums-to-convolutions"})
"""Integer maps have another layout, which concatenations, products and sums keep."""


def rewrite(model: ir.Model, *, integers: bool = False) -> dict[str, int]:
    """Apply the rewrites to `model`, to be quantized if `integers`.

    Returns the places each changed.
    """
    places = {}
    for name, edit in REWRITES.items():
        if integers and name in FOR_FLOAT:
            continue
        graph = Graph(model)
        edit(graph)
        places[name] = graph.places
    return places
