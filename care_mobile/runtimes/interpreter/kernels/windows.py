"""Geometry of sliding windows: padding types, sizes of outputs, which outputs an element reaches.

Source: the reference of `conv` and `avg_pool` in coremltools, and `aggregated_pad` and
`spatial_dimensions_out_shape` of its type inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..registry import Arguments


@dataclass(frozen=True)
class Window:
    """A window sliding over the spatial axes; every field has one entry per axis.

    Attributes:
        sizes: of the input.
        pads: elements before and after the input.
        outputs: sizes of the output.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]


def read_window(
    arguments: Arguments, sizes: Sequence[int], kernel: Sequence[int], ceil_mode: bool = False
) -> Window:
    """The window of a convolution or a pooling, from `strides`, `dilations`, `pad_type`, `pad`.

    Raises:
        RuntimeFailure: for parameters of the wrong length or value, and for an empty output.
    """
    rank = len(sizes)
    strides = per_axis(arguments, "strides", rank)
    dilations = per_axis(arguments, "dilations", rank)
    if len(kernel) != rank or min(kernel, default=0) < 1:
        raise arguments.fault(f"has the kernel {tuple(kernel)} over {rank} spatial axes")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(arguments, sizes, extents, strides)
    outputs = tuple(
        _output_size(size, extent, stride, pad, ceil_mode)
        for size, extent, stride, pad in zip(sizes, extents, strides, pads, strict=True)
    )
    if min(outputs) < 1:
        raise arguments.fault(f"slides a window of {extents} over a smaller input, {tuple(sizes)}")
    return Window(tuple(sizes), tuple(kernel), strides, dilations, pads, outputs)


def per_axis(arguments: Arguments, name: str, rank: int) -> tuple[int, ...]:
    """A parameter with one positive number per spatial axis; its default is all ones."""
    values = arguments.integers(name, (1,) * rank)
    if len(values) != rank or min(values) < 1:
        raise arguments.fault(f"has {name} {values} over {rank} spatial axes")
    return values


def custom_pads(arguments: Arguments, rank: int) -> tuple[tuple[int, int], ...]:
    """The parameter `pad`: before and after, axis by axis; its default is all zeros."""
    pad = arguments.integers("pad", (0,) * 2 * rank)
    if len(pad) != 2 * rank or min(pad) < 0:
        raise arguments.fault(f"has the pad {pad} over {rank} spatial axes")
    return tuple(zip(pad[::2], pad[1::2], strict=True))


def reached(
    size: int, tap: int, stride: int, before: int, outputs: int
) -> tuple[slice, slice] | None:
    """Which outputs a tap of the window reads real elements for, and which elements those are.

    Args:
        tap: its offset in the window, in elements.
        before: padding before the input.

    Returns:
        Slices of the output and of the input along the axis; None if it reads padding only.
    """
    first = max(0, -((tap - before) // stride))
    stop = min(outputs, -((tap - before - size) // stride))
    if first >= stop:
        return None
    start = first * stride + tap - before
    return slice(first, stop), slice(start, start + (stop - first - 1) * stride + 1, stride)


def trailing(indices: Iterable[int | slice]) -> tuple[Any, ...]:
    """An index into the last axes of an array."""
    return (..., *indices)


def _pads(
    arguments: Arguments, sizes: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    kind = arguments.text("pad_type", "valid").lower()
    if kind == "valid":
        return ((0, 0),) * len(sizes)
    if kind == "custom":
        return custom_pads(arguments, len(sizes))
    if kind == "same_lower" and arguments.opset < 6:
        raise arguments.fault("has the pad_type 'same_lower', which iOS 15 does not have")
    if kind not in ("same", "same_lower"):
        raise arguments.fault(f"has the pad_type {kind!r}, which is not known")
    # The reference's formula for `same` ignores strides, contradicts the size it promises and
    # puts an odd element first. What it promises next to it holds: ceil(size / stride) outputs,
    # and `same_lower` is the one with the odd element first. SamePadding in NeuralNetwork.proto
    # has the formula that does this.
    pads = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if kind == "same" else (more, less))
    return tuple(pads)


def _output_size(size: int, extent: int, stride: int, pad: tuple[int, int], ceil_mode: bool) -> int:
    room = size + sum(pad) - extent
    if not ceil_mode:
        return room // stride + 1
    outputs = -(-room // stride) + 1
    if (outputs - 1) * stride >= size + pad[0] and sum(pad) > 0:
        outputs -= 1
    return outputs
