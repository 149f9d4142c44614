"""Average pooling in terms that Core ML and PyTorch understand alike.

Core ML divides by the whole window wherever it ends, PyTorch by what lies within the input and the
padding that was asked for; they part where a window of `ceil_mode` hangs over (apple/coremltools
#2772, PR #2844). Core ML has no divisor of one's own, and in fp16 it was seen not to divide at
all where padding counts (apple/coremltools #1901). So, with s the sum over a window::

    nothing hangs over, nothing is padded      pool
    nothing is padded, or padding is left out  pool that leaves out what is no input: s / inputs
    otherwise                                  pool of the input padded with zeros: s / window,
                                               times window / divisor, a constant per place

where the divisor is PyTorch's. A constant is left out where it is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from .nodes import add_constant, calls, changed, emit, replace, static_shape

_ATEN = torch.ops.aten
_POOLS = {
    _ATEN.avg_pool1d.default: 1,
    _ATEN.avg_pool2d.default: 2,
    _ATEN.avg_pool3d.default: 3,
}
_DIVISOR = 6
"""Place of the argument that gives one."""
_DEFAULTS: tuple[Any, ...] = ([], 0, False, True, None)


@dataclass(frozen=True)
class _Axis:
    """A window sliding along an axis of `size` elements with `pad` zeros at both ends."""

    size: int
    kernel: int
    stride: int
    pad: int
    outputs: int

    @property
    def overhang(self) -> int:
        """How far the last window reaches behind the padding."""
        end = (self.outputs - 1) * self.stride + self.kernel
        return max(0, end - self.size - 2 * self.pad)

    def counts(self, include_padding: bool) -> Tensor:
        """What PyTorch divides by: elements and padding in each window, never the overhang."""
        starts = torch.arange(self.outputs) * self.stride - self.pad
        stops = (starts + self.kernel).clamp(max=self.size + self.pad)
        if not include_padding:
            starts, stops = starts.clamp(min=0), stops.clamp(max=self.size)
        return stops - starts


def average_pools(program: ExportedProgram) -> int:
    """Rewrite every average pooling that Core ML would take otherwise; returns how many."""
    places = sum(_rewrite(program, node) for node in calls(program, *_POOLS))
    if places:
        changed(program)
    return places


def own_divisors(program: ExportedProgram) -> int:
    """Rewrite average pooling with a divisor of its own, which ONNX has not; returns how many."""
    own = [n for n in calls(program, *_POOLS) if len(n.args) > _DIVISOR and n.args[_DIVISOR]]
    places = sum(_rewrite(program, node) for node in own)
    if places:
        changed(program)
    return places


def _rewrite(program: ExportedProgram, node: fx.Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    shape = static_shape(node.args[0])
    if shape is None or node.kwargs:
        return False
    rank = _POOLS[node.target]
    x, kernel, *given = node.args
    options: list[Any] = [*given, *_DEFAULTS[len(given) :]]
    stride, padding, ceil_mode, include, divisor = options[:5]
    axes = [
        _Axis(*numbers)
        for numbers in zip(
            shape[-rank:],
            _per_axis(kernel, rank),
            _per_axis(stride or kernel, rank),
            _per_axis(padding, rank),
            node.meta["val"].shape[-rank:],
            strict=True,
        )
    ]
    padded = any(axis.pad for axis in axes)
    hangs_over = any(axis.overhang for axis in axes)
    if divisor is None and not padded and not hangs_over:
        if ceil_mode:
            node.args = (x, kernel, stride)
        return bool(ceil_mode)
    if divisor is None and (not include or not padded):
        node.args = (x, kernel, stride, padding, hangs_over, False)
        return include or bool(ceil_mode) is not hangs_over
    replace(program, node, _padded_pool(program, node, axes, include, divisor))
    return True


def _padded_pool(
    program: ExportedProgram,
    node: fx.Node,
    axes: Sequence[_Axis],
    include: bool,
    divisor: int | None,
) -> fx.Node:
    graph = program.graph_module.graph
    assert isinstance(node.target, torch._ops.OpOverload)
    factors = _factors(axes, include, divisor, node.meta["val"].dtype)
    constant = None
    if factors.numel() > 1:
        constant = add_constant(program, f"{node.name}_divisor", factors)
    pads = [amount for axis in reversed(axes) for amount in (axis.pad, axis.pad + axis.overhang)]
    with graph.inserting_before(node):
        x = node.args[0]
        if any(pads):
            x = emit(graph, _ATEN.constant_pad_nd.default, x, pads, 0.0)
        kernel, stride = [axis.kernel for axis in axes], [axis.stride for axis in axes]
        pooled = emit(graph, node.target, x, kernel, stride)
        if constant is not None:
            return emit(graph, _ATEN.mul.Tensor, pooled, constant)
        factor = float(factors)
        return pooled if factor == 1 else emit(graph, _ATEN.mul.Tensor, pooled, factor)


def _factors(
    axes: Sequence[_Axis], include: bool, divisor: int | None, dtype: torch.dtype
) -> Tensor:
    """Window by divisor: one number where it is the same at every place."""
    window = math.prod(axis.kernel for axis in axes)
    if divisor is not None:
        return torch.tensor(window / divisor, dtype=dtype)
    counts = torch.ones((), dtype=torch.float64)
    for axis in axes:
        counts = counts.unsqueeze(-1) * axis.counts(include)
    # Not `window / counts`, which is rounded twice: 49 / 49 would be less than one.
    factors = torch.full_like(counts, window).div(counts).to(dtype)
    return factors.flatten()[0] if bool((factors == factors.flatten()[0]).all()) else factors


def _per_axis(value: object, rank: int) -> list[int]:
    numbers: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    return numbers * rank if len(numbers) == 1 else numbers
