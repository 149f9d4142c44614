"""A split into one slice per part: XNNPACK takes slices and leaves splits to portable kernels."""

from __future__ import annotations

import operator

import torch
from torch import fx
from torch.export import ExportedProgram

_SPLITS = (
    torch.ops.aten.split_with_sizes.default,
    torch.ops.aten.split.Tensor,
    torch.ops.aten.chunk.default,
)
_SLICE = torch.ops.aten.slice.Tensor


def splits_to_slices(program: ExportedProgram) -> int:
    """Rewrite every split whose parts are all read by index; returns how many."""
    graph = program.graph_module.graph
    splits = [n for n in graph.nodes if n.op == "call_function" and n.target in _SPLITS]
    places = 0
    for node in splits:
        if all(user.target is operator.getitem for user in node.users):
            _rewrite(graph, node)
            places += 1
    if places:
        graph.lint()
        program.graph_module.recompile()
    return places


def _rewrite(graph: fx.Graph, node: fx.Node) -> None:
    source = node.args[0]
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    assert isinstance(dim, int)
    sizes = [part.shape[dim] for part in node.meta["val"]]
    for user in list(node.users):
        index = user.args[1]
        assert isinstance(index, int)
        start = sum(sizes[:index])
        with graph.inserting_before(user):
            part = graph.call_function(_SLICE, (source, dim, start, start + sizes[index]))
        part.meta = dict(user.meta)
        user.replace_all_uses_with(part)
        graph.erase_node(user)
    graph.erase_node(node)
