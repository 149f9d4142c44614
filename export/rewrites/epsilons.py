"""Epsilons that half precision holds only as subnormal numbers, which hardware may flush to zero.

Below 2^-14 (6.1e-5), the smallest normal number of half precision:

- Layer normalisation does not see a factor on its input but for its epsilon, so a power of two c
  with c^2 eps >= 2^-14 makes it normal; exact: n(x, eps) = n(c x, c^2 eps). c stays at 16 or
  below, or inputs of ten would leave half precision for an epsilon of 1e-12 (c = 8192); what is
  missing then is added to the epsilon, which counts as 2.4e-7 at most.
- A guard p / (r + eps) against division by zero is raised to 2^-14. Not exact: the quotient
  changes by the factor 1 - 2^-14 / r or less, which half precision's rounding (2^-11) hides for
  r > 1/8. Without it, an r of zero would bring 0 / 0. A guard eps / clamp(t, 1, ...) is smaller
  still and treated alike.
"""

from __future__ import annotations

import math

import torch
from torch import fx
from torch.export import ExportedProgram

from .nodes import changed, emit

SMALLEST_NORMAL = 2.0**-14
_LARGEST_FACTOR = 16.0
_ADD = torch.ops.aten.add.Tensor
_DIV = torch.ops.aten.div.Tensor
_MUL = torch.ops.aten.mul.Tensor
_LAYER_NORM = torch.ops.aten.layer_norm.default
_CLAMP = torch.ops.aten.clamp.default
_FULL = torch.ops.aten.full.default
_RECIPROCAL = torch.ops.aten.reciprocal.default
_LAYER_NORM_EPS = 4
"""Index of its argument, as (input, normalized_shape, weight, bias, eps)."""


def normal_epsilons(program: ExportedProgram) -> int:
    """Make epsilons normal numbers of half precision; returns how many."""
    graph = program.graph_module.graph
    places = sum(_raise_guard(node) or _scale_input(graph, node) for node in list(graph.nodes))
    if places:
        graph.eliminate_dead_code()
        changed(program)
    return places


def _is_subnormal(value: object) -> bool:
    return isinstance(value, float) and 0.0 < value < SMALLEST_NORMAL


def _raise_guard(node: fx.Node) -> bool:
    if node.target is not _ADD or len(node.args) != 2 or not _is_small_guard(node.args[1]):
        return False
    if not all(user.target is _DIV and user.args[1] is node for user in node.users):
        return False
    node.args = (node.args[0], SMALLEST_NORMAL)
    return True


def _is_small_guard(guard: object) -> bool:
    """A subnormal number, or one divided by what is at least one."""
    if _is_subnormal(guard):
        return True
    if not isinstance(guard, fx.Node) or guard.target is not _MUL or len(guard.args) != 2:
        return False
    inverse, eps = guard.args
    if not isinstance(inverse, fx.Node) or not _is_inverse(inverse):
        return False
    divisor = inverse.args[-1]
    if not isinstance(divisor, fx.Node) or divisor.target is not _CLAMP:
        return False
    lowest = divisor.args[1] if len(divisor.args) > 1 else None
    return _is_subnormal(eps) and isinstance(lowest, int | float) and lowest >= 1.0


def _is_inverse(node: fx.Node) -> bool:
    """1 / x, as torch writes it or as `reciprocals_to_divisions` leaves it."""
    if node.target is _RECIPROCAL:
        return True
    one = node.args[0] if node.target is _DIV else None
    return isinstance(one, fx.Node) and one.target is _FULL and tuple(one.args) == ([], 1.0)


def _scale_input(graph: fx.Graph, node: fx.Node) -> bool:
    if node.target is not _LAYER_NORM or len(node.args) <= _LAYER_NORM_EPS:
        return False
    x, eps = node.args[0], node.args[_LAYER_NORM_EPS]
    if not _is_subnormal(eps):
        return False
    assert isinstance(x, fx.Node) and isinstance(eps, float)
    factor = min(_LARGEST_FACTOR, 2.0 ** math.ceil(math.log2(SMALLEST_NORMAL / eps) / 2))
    with graph.inserting_before(node):
        scaled = emit(graph, _MUL, x, factor)
    normal = max(SMALLEST_NORMAL, factor * factor * eps)
    node.args = (scaled, *node.args[1:_LAYER_NORM_EPS], normal, *node.args[5:])
    return True
