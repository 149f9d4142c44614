"""Constant operands in the form that keeps an operation, and the map beside it, in XNNPACK.

XNNPACK keeps maps, (n, c, h, w), with the channels last. An operation on a map and a constant of
fewer dimensions brings the map back to channels first, and its result to channels last again: two
transpositions of a whole map per layer scale (executorch 1.4). A constant of shape (1, c, 1, 1) has
the same values in both layouts. What computes that shape from a parameter is computed here, once.

A whole number beside floating-point values becomes a constant of integers and a conversion, which
stays outside, as does `full`: both are made constants of the right type.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from .nodes import add_constant, calls, changed, constant_of

_ATEN = torch.ops.aten
_ELEMENTWISE = (_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.div.Tensor)
_RESHAPING = (_ATEN.unsqueeze.default, _ATEN.reshape.default, _ATEN.view.default)
_FULL = _ATEN.full.default
_MAP = 4
_Constant = tuple[str, Tensor]
"""Whence it comes, and its values."""


def constants_beside_maps(program: ExportedProgram) -> int:
    """Rewrite every operand that is such a constant; returns how many."""
    places = sum(
        _rewrite(program, node, index)
        for node in calls(program, *_ELEMENTWISE)
        if node.meta["val"].dtype.is_floating_point
        for index in (0, 1)
    )
    if places:
        program.graph_module.graph.eliminate_dead_code()
        changed(program)
    return places


def _rewrite(program: ExportedProgram, node: fx.Node, index: int) -> bool:
    operand, result = node.args[index], node.meta["val"]
    is_map = result.dim() == _MAP
    if isinstance(operand, int) and not is_map:
        node.update_arg(index, float(operand))
        return True
    found = _value(program, operand, result.dtype)
    if found is None or (is_map and found[1].dim() == _MAP):
        return False
    if not is_map and not (isinstance(operand, fx.Node) and operand.target is _FULL):
        return False
    name, value = found
    if is_map:
        value = value.reshape((1,) * (_MAP - value.dim()) + tuple(value.shape))
    node.update_arg(index, add_constant(program, name, value))
    return True


def _value(program: ExportedProgram, node: object, dtype: torch.dtype) -> _Constant | None:
    """The constant that `node` is, or makes of one."""
    if isinstance(node, int | float):
        return "number", torch.tensor(node, dtype=dtype)
    if not isinstance(node, fx.Node):
        return None
    constant = constant_of(program, node)
    if constant is not None:
        return node.name, constant
    if node.target is _FULL and not node.all_input_nodes:
        return "number", _FULL(*node.args, **node.kwargs)
    found = None
    if node.target in _RESHAPING and not node.kwargs:
        found = _value(program, node.args[0], dtype)
    if found is None or not isinstance(node.target, torch._ops.OpOverload):
        return None
    return found[0], node.target(found[1], *node.args[1:])
