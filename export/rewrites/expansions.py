"""Expansions whose readers broadcast by themselves, left out.

An elementwise operation reads (n, 1) beside (n, m) as if it were (n, m); XNNPACK leaves the copy
that an expansion makes outside (executorch 1.4). So does one that changes no shape.
"""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import calls, changed, replace

_ATEN = torch.ops.aten
_ELEMENTWISE = (_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.div.Tensor)


def expansions_left_out(program: ExportedProgram) -> int:
    """Remove every expansion that nobody needs; returns how many."""
    places = 0
    for node in calls(program, _ATEN.expand.default, _ATEN.expand_as.default):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        same = source.meta["val"].shape == node.meta["val"].shape
        if same or all(_broadcasts(user, node, source) for user in node.users):
            replace(program, node, source)
            places += 1
    if places:
        changed(program)
    return places


def _broadcasts(user: fx.Node, node: fx.Node, source: fx.Node) -> bool:
    """Whether `user` gives the same shape when it reads `source` for `node`."""
    if user.target not in _ELEMENTWISE:
        return False
    shapes = [
        (source if operand is node else operand).meta["val"].shape
        for operand in user.all_input_nodes
    ]
    return bool(torch.broadcast_shapes(*shapes) == user.meta["val"].shape)
