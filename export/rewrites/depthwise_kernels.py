"""A large depthwise convolution as a sum of small ones.

A kernel is the sum of kernels that hold some of its rows each and zeros elsewhere, and so is what
it computes. Rows that lie evenly spaced and symmetric about the middle are a dilated kernel with
less padding: the rows -3, 0 and 3 of a 7x7 kernel are a 3x7 kernel of dilation 3.

XNNPACK's kernels for depthwise convolution hold 25 taps at most (executorch 1.4). A larger one
is computed as a general convolution of groups of one channel, which leaves most lanes of a vector
idle: the 7x7 convolutions of CARE-S0 take 2.0 to 4.7 times as long as their three parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from .nodes import add_constant, calls, changed, constant_of, emit, replace

LARGEST = 25
"""Taps of the largest depthwise kernel in XNNPACK."""
_CONV = torch.ops.aten.conv2d.default
_ADD = torch.ops.aten.add.Tensor
_DEFAULTS = (None, [1, 1], [0, 0], [1, 1], 1)


@dataclass(frozen=True)
class _Part:
    """Every `step`-th of the rows `first` to `last` of a kernel."""

    first: int
    last: int
    step: int

    @property
    def rows(self) -> range:
        return range(self.first, self.last + 1, self.step)


def depthwise_kernels_in_parts(program: ExportedProgram) -> int:
    """Rewrite depthwise convolutions of more than 25 taps; returns how many."""
    places = sum(_rewrite(program, node) for node in calls(program, _CONV))
    if places:
        changed(program)
    return places


def _rewrite(program: ExportedProgram, node: fx.Node) -> bool:
    x, kernel = node.args[:2]
    options: list[Any] = [*node.args[2:], *_DEFAULTS[len(node.args) - 2 :]]
    bias, stride, padding, dilation, groups = options
    weight = constant_of(program, kernel)
    if weight is None or weight.shape[0] != groups or weight.shape[1] != 1 or node.kwargs:
        return False
    plans = {axis: _plan(weight, axis, _pair(padding), _pair(dilation)) for axis in (2, 3)}
    axis = min(plans, key=lambda axis: len(plans[axis]) or LARGEST)
    if not plans[axis]:
        return False
    assert isinstance(kernel, fx.Node)
    graph = program.graph_module.graph
    total: fx.Node | None = None
    for part in plans[axis]:
        rows = add_constant(program, kernel.name, _rows(weight, axis, part))
        pads, steps = _pair(padding), _pair(dilation)
        pads[axis - 2] -= part.first * steps[axis - 2]
        steps[axis - 2] *= part.step
        with graph.inserting_before(node):
            conv = emit(graph, _CONV, x, rows, None if total else bias, stride, pads, steps, groups)
            total = emit(graph, _ADD, total, conv) if total else conv
    assert total is not None
    replace(program, node, total)
    return True


def _plan(weight: Tensor, axis: int, padding: list[int], dilation: list[int]) -> list[_Part]:
    """Parts of a kernel with at most 25 taps each; none if it is small or cannot be split."""
    size, other = weight.shape[axis], weight.shape[5 - axis]
    if size * other <= LARGEST:
        return []
    parts = []
    left = set(range(size))
    while left:
        part = _largest_part(left, size, LARGEST // other)
        if part is None or part.first * dilation[axis - 2] > padding[axis - 2]:
            return []
        parts.append(part)
        left -= set(part.rows)
    return parts


def _largest_part(left: set[int], size: int, most: int) -> _Part | None:
    """Of the rows left, the most that are evenly spaced about the middle, the widest first."""
    candidates = [
        part
        for first in range((size + 1) // 2)
        for step in range(1, size)
        for part in [_Part(first, size - 1 - first, step)]
        if part.rows[-1] == part.last and len(part.rows) <= most and left.issuperset(part.rows)
    ]
    return max(candidates, key=lambda part: len(part.rows), default=None)


def _rows(weight: Tensor, axis: int, part: _Part) -> Tensor:
    rows = torch.tensor(part.rows, device=weight.device)
    return weight.index_select(axis, rows)


def _pair(value: object) -> list[int]:
    assert isinstance(value, list | tuple)
    first, *rest = value
    return [first, rest[0] if rest else first]
