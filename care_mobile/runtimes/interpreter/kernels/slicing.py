"""Parts of tensors. Slices are views of the input."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel

Index = tuple["slice | int", ...]


@kernel("slice_by_index")
def slice_by_index(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    return np.asarray(x[_index(arguments, x.ndim)])


@kernel("slice_update")
def slice_update(arguments: Arguments) -> AnyArray:
    updated = arguments.array("x").copy()
    index = _index(arguments, updated.ndim)
    update = arguments.array("update")
    if updated[index].shape != update.shape:
        raise arguments.fault(
            f"puts a tensor of shape {update.shape} in the place of {updated[index].shape}"
        )
    updated[index] = update
    return updated


def _index(arguments: Arguments, rank: int) -> Index:
    """What `begin`, `end`, `stride` and the three masks select, with numpy's negative indices."""
    nothing = (False,) * rank
    parts = (
        arguments.integers("begin"),
        arguments.integers("end"),
        arguments.integers("stride", (1,) * rank),
        arguments.flags("begin_mask", nothing),
        arguments.flags("end_mask", nothing),
        arguments.flags("squeeze_mask", nothing),
    )
    if {len(part) for part in parts} != {rank}:
        raise arguments.fault(f"has parameters that are not for the {rank} axes of its input")
    index: list[slice | int] = []
    for begin, end, stride, from_start, to_end, squeeze in zip(*parts, strict=True):
        if squeeze:
            index.append(0 if from_start else begin)
        else:
            index.append(slice(None if from_start else begin, None if to_end else end, stride))
    return tuple(index)


@kernel("slice_by_size")
def slice_by_size(arguments: Arguments) -> AnyArray:
    x = arguments.array("x")
    begins, sizes = arguments.integers("begin"), arguments.integers("size")
    index = []
    for begin, size, length in zip(begins, sizes, x.shape, strict=True):
        start = begin + length if begin < 0 else begin
        stop = length if size == -1 else start + size
        if not 0 <= start <= stop <= length:
            raise arguments.fault(f"takes {size} elements from {begin} of an axis of {length}")
        index.append(slice(start, stop))
    return x[tuple(index)]


@kernel("split")
def split(arguments: Arguments) -> tuple[AnyArray, ...]:
    x = arguments.array("x")
    axis = arguments.integer("axis")
    length = x.shape[axis]
    if arguments.given("split_sizes"):
        sizes = arguments.integers("split_sizes")
    else:
        count = arguments.integer("num_splits")
        sizes = (length // count,) * count
    if sum(sizes) != length or any(size < 0 for size in sizes):
        raise arguments.fault(f"splits an axis of {length} into {len(sizes)} parts, {sizes}")
    return tuple(np.split(x, np.cumsum(sizes[:-1]), axis))


@kernel("band_part")
def band_part(arguments: Arguments) -> AnyArray:
    """The band around the diagonal of the last two axes; zero elsewhere."""
    x = arguments.array("x")
    lower, upper = arguments.integer("lower", -1), arguments.integer("upper", -1)
    below = np.arange(x.shape[-2])[:, None] - np.arange(x.shape[-1])
    band = np.ones(below.shape, np.bool_)
    if lower >= 0:
        band &= below <= lower
    if upper >= 0:
        band &= -below <= upper
    return np.where(band, x, x.dtype.type(0))
