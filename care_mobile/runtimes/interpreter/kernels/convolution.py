"""Convolutions in one, two and three dimensions."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .windows import Window, custom_pads, per_axis, reached, read_window, trailing

_CHUNK_BYTES = 512 * 1024
"""Of channels a depthwise convolution works on at a time: what stays in a core's own cache."""
_COLUMNS_BYTES = 1024 * 1024
"""Of input gathered for one matrix product."""


@kernel("conv")
def conv(arguments: Arguments) -> AnyArray:
    """x (N, C, *D), weight (O, C / groups, *K), bias (O,) -> (N, O, *D')."""
    x, weight = arguments.array("x"), arguments.array("weight")
    groups = arguments.integer("groups", 1)
    if (
        x.ndim != weight.ndim
        or not 3 <= x.ndim <= 5
        or groups < 1
        or x.shape[1] != weight.shape[1] * groups
        or weight.shape[0] % groups
    ):
        raise arguments.fault(
            f"has a weight of shape {weight.shape} and {groups} groups for an input {x.shape}"
        )
    window = read_window(arguments, x.shape[2:], weight.shape[2:])
    if groups > 1 and weight.shape[1] == 1:
        result = _depthwise(x, weight, window)
    elif set(window.kernel) == {1} and not any(map(any, window.pads)):
        result = _pointwise(x, weight, window, groups)
    else:
        result = _general(x, weight, window, groups)
    return _add_bias(arguments, result)


@kernel("conv_transpose")
def conv_transpose(arguments: Arguments) -> AnyArray:
    """x (N, C, *D), weight (C, O / groups, *K), bias (O,) -> (N, O, *D').

    Every input element adds its multiple of the kernel to the output at stride distance; padding
    is cut off.
    """
    x, weight = arguments.array("x"), arguments.array("weight")
    groups = arguments.integer("groups", 1)
    if (
        x.ndim != weight.ndim
        or not 3 <= x.ndim <= 5
        or groups < 1
        or x.shape[1] != weight.shape[0]
        or x.shape[1] % groups
    ):
        raise arguments.fault(
            f"has a weight of shape {weight.shape} and {groups} groups for an input {x.shape}"
        )
    sizes, kernel_sizes = x.shape[2:], weight.shape[2:]
    strides = per_axis(arguments, "strides", len(sizes))
    dilations = per_axis(arguments, "dilations", len(sizes))
    outputs, befores = _transposed_sizes(arguments, sizes, kernel_sizes, strides, dilations)
    channels = weight.shape[1] * groups
    result = np.zeros((x.shape[0], channels, *outputs), x.dtype)
    flat = x.reshape(x.shape[0], groups, x.shape[1] // groups, -1)
    rows = np.moveaxis(weight.reshape(groups, -1, *weight.shape[1:]), 1, 2)
    for tap in product(*map(range, kernel_sizes)):
        # Seen from the input, the transposed window reads the output.
        ranges = [
            reached(output, k * dilation, stride, before, size)
            for output, k, dilation, stride, before, size in zip(
                outputs, tap, dilations, strides, befores, sizes, strict=True
            )
        ]
        found = [pair for pair in ranges if pair is not None]
        if len(found) < len(ranges):
            continue
        added = np.matmul(np.ascontiguousarray(rows[trailing(tap)]), flat)
        added = added.reshape(x.shape[0], channels, *sizes)
        result[trailing(written for _, written in found)] += added[
            trailing(used for used, _ in found)
        ]
    return _add_bias(arguments, result)


def _transposed_sizes(
    arguments: Arguments,
    sizes: tuple[int, ...],
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Spatial sizes of the output, and how many elements are cut off before it."""
    kind = arguments.text("pad_type", "valid").lower()
    if kind not in ("valid", "same", "custom"):
        raise arguments.fault(f"has the pad_type {kind!r}, which is not known")
    rank = len(sizes)
    pads = custom_pads(arguments, rank) if kind == "custom" else ((0, 0),) * rank
    extents = [(k - 1) * d + 1 for k, d in zip(kernel_sizes, dilations, strict=True)]
    outputs = tuple(
        size * stride if kind == "same" else (size - 1) * stride + extent - sum(pad)
        for size, stride, extent, pad in zip(sizes, strides, extents, pads, strict=True)
    )
    if arguments.given("output_shape"):
        shape = arguments.integers("output_shape")
        if len(shape) != rank + 2:
            raise arguments.fault(f"has the output_shape {shape} for {rank} spatial axes")
        outputs = shape[2:]
    if min(outputs) < 1:
        raise arguments.fault(f"cuts its output to the sizes {outputs}")
    if kind != "same":
        return outputs, tuple(before for before, _ in pads)
    # The padding of the `same` convolution whose gradient this is.
    totals = [
        max(0, (size - 1) * stride + extent - output)
        for size, stride, extent, output in zip(sizes, strides, extents, outputs, strict=True)
    ]
    return outputs, tuple(total // 2 for total in totals)


def _add_bias(arguments: Arguments, result: AnyArray) -> AnyArray:
    bias = arguments.optional("bias")
    if bias is not None:
        if bias.shape != result.shape[1:2]:
            raise arguments.fault(f"has a bias of {bias.shape} for {result.shape[1]} channels")
        result += bias.reshape(-1, *(1,) * (result.ndim - 2))
    return result


def _pointwise(x: AnyArray, weight: AnyArray, window: Window, groups: int) -> AnyArray:
    strided = x[trailing(slice(None, None, stride) for stride in window.strides)]
    flat = strided.reshape(x.shape[0], groups, weight.shape[1], -1)
    result: AnyArray = np.matmul(weight.reshape(groups, -1, weight.shape[1]), flat)
    return result.reshape(x.shape[0], weight.shape[0], *window.outputs)


class _Phases:
    """The padded input split by strides, so that each tap reads one contiguous slice.

    Element o * stride + k * dilation of the padded input is element o + shift of the phase that
    starts at remainder r and steps by the stride. With the spatial axes flattened, a tap needs
    the same slice for all outputs at once. Rows of outputs then are as long as rows of phases;
    what lies between them is computed for nothing and dropped by `crop`.

    Attributes:
        taps: for every kernel element in order, its phase and its shift.
        length: of the slice that a tap reads.
        surplus: outputs with what is dropped; at least `length`.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        axes = list(zip(window.kernel, window.dilations, window.strides, strict=True))
        self.sizes = tuple(
            output + (k - 1) * dilation // stride
            for output, (k, dilation, stride) in zip(window.outputs, axes, strict=True)
        )
        steps = [prod(self.sizes[axis + 1 :]) for axis in range(len(axes))]
        self.taps = []
        for tap in product(*map(range, window.kernel)):
            places = [
                divmod(k * dilation, stride)
                for k, (_, dilation, stride) in zip(tap, axes, strict=True)
            ]
            shift = sum(place * step for (place, _), step in zip(places, steps, strict=True))
            self.taps.append((tuple(remainder for _, remainder in places), shift))
        self.length = 1 + sum((o - 1) * s for o, s in zip(window.outputs, steps, strict=True))
        self.surplus = window.outputs[0] * steps[0]

    def split(self, x: AnyArray) -> dict[tuple[int, ...], AnyArray]:
        """The phases that are read, of x (C, *D), each (C, elements)."""
        return {phase: self._phase(x, phase) for phase in {phase for phase, _ in self.taps}}

    def crop(self, total: AnyArray) -> AnyArray:
        """(..., surplus) -> (..., *outputs)."""
        outputs = self.window.outputs
        rows = total.reshape(*total.shape[:-1], outputs[0], *self.sizes[1:])
        cropped: AnyArray = rows[trailing(slice(output) for output in outputs)]
        return cropped

    def _phase(self, x: AnyArray, phase: tuple[int, ...]) -> AnyArray:
        window = self.window
        ranges = [
            reached(size, remainder, stride, before, count)
            for size, remainder, stride, (before, _), count in zip(
                window.sizes, phase, window.strides, window.pads, self.sizes, strict=True
            )
        ]
        found = [pair for pair in ranges if pair is not None]
        if len(found) < len(ranges):
            return np.zeros((len(x), prod(self.sizes)), x.dtype)
        source = x[trailing(taken for _, taken in found)]
        if source.shape[1:] == self.sizes:
            return np.ascontiguousarray(source).reshape(len(x), -1)
        padded = np.zeros((len(x), *self.sizes), x.dtype)
        padded[trailing(placed for placed, _ in found)] = source
        return padded.reshape(len(x), -1)


def _depthwise(x: AnyArray, weight: AnyArray, window: Window) -> AnyArray:
    """One input channel per group: multiply and add tap by tap, some channels at a time."""
    phases = _Phases(window)
    channels = x.shape[1]
    multiplier = weight.shape[0] // channels
    factors = weight.reshape(channels, multiplier, -1)
    result = np.empty((x.shape[0], channels, multiplier, *window.outputs), x.dtype)
    per_channel = x.itemsize * (prod(phases.sizes) + 2 * multiplier * phases.surplus)
    chunk = max(1, _CHUNK_BYTES // per_channel)
    for image, first in product(range(x.shape[0]), range(0, channels, chunk)):
        some = slice(first, first + chunk)
        inputs = phases.split(x[image, some])
        total = np.zeros((*factors[some].shape[:2], phases.surplus), x.dtype)
        sums = total[..., : phases.length]
        products = np.empty_like(sums)
        for index, (phase, shift) in enumerate(phases.taps):
            read = inputs[phase][:, None, shift : shift + phases.length]
            np.multiply(read, factors[some, :, index, None], out=products)
            np.add(sums, products, out=sums)
        result[image, some] = phases.crop(total)
    return result.reshape(x.shape[0], -1, *window.outputs)


def _general(x: AnyArray, weight: AnyArray, window: Window, groups: int) -> AnyArray:
    """Matrix products over what all taps read, gathered for some outputs at a time."""
    phases = _Phases(window)
    each, inputs = weight.shape[0] // groups, weight.shape[1]
    result = np.empty((x.shape[0], groups, each, *window.outputs), x.dtype)
    taps = len(phases.taps)
    rows = weight.reshape(groups, each, inputs, taps).swapaxes(2, 3).reshape(groups, each, -1)
    block = max(64, _COLUMNS_BYTES // (x.itemsize * rows.shape[-1]))
    total = np.zeros((each, phases.surplus), x.dtype)
    for image, group in product(range(x.shape[0]), range(groups)):
        read = phases.split(x[image, group * inputs : (group + 1) * inputs])
        for start in range(0, phases.length, block):
            stop = min(start + block, phases.length)
            columns = np.empty((taps, inputs, stop - start), x.dtype)
            for column, (phase, shift) in zip(columns, phases.taps, strict=True):
                column[:] = read[phase][:, shift + start : shift + stop]
            np.matmul(rows[group], columns.reshape(-1, stop - start), out=total[:, start:stop])
        result[image, group] = phases.crop(total)
    return result.reshape(x.shape[0], -1, *window.outputs)
