"""A split into one slice per part: XNNPACK takes slices and leaves splits to portable kernels."""

from __future__ import annotations

import operator

import torch
from torch import fx
from torch.export import ExportedProgram

_SPLIT = torch.ops.aten.split_with_sizes.default
_SLICE = torch.ops.aten.slice.Tensor


def splits_to_slices(program: ExportedProgram) -> int:
    """Rewrite every split whose parts are all read by index; returns how many."""
    graph = program.graph_module.graph
    splits = [n for n in graph.nodes if n.op == "call_function" and n.target is _SPLIT]
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
    source, sizes, *rest = node.args
    assert isinstance(sizes, list | tuple)
    dim = rest[0] if rest else node.kwargs.get("dim", 0)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    for user in list(node.users):
        index = user.args[1]
        assert isinstance(index, int)
        with graph.inserting_before(user):
            stop = starts[index] + sizes[index]  # type: ignore[operator]
            part = graph.call_function(_SLICE, (source, dim, starts[index], stop))
        part.meta = dict(user.meta)
        user.replace_all_uses_with(part)
        graph.erase_node(user)
    graph.erase_node(node)
