"""A split into one slice per part: XNNPACK takes slices and leaves splits to portable kernels."""

from __future__ import annotations

import operator

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, replace

_SPLITS = (
    torch.ops.aten.split_with_sizes.default,
    torch.ops.aten.split.Tensor,
    torch.ops.aten.chunk.default,
)
_SLICE = torch.ops.aten.slice.Tensor


def splits_to_slices(program: ExportedProgram) -> int:
    """Rewrite every split whose parts are all read by index; returns how many."""
    places = 0
    for node in calls(program, *_SPLITS):
        if all(user.target is operator.getitem for user in node.users):
            _rewrite(program, node)
            places += 1
    if places:
        changed(program)
    return places


def _rewrite(program: ExportedProgram, node: fx.Node) -> None:
    graph = program.graph_module.graph
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
        replace(program, user, part)
    graph.erase_node(node)
