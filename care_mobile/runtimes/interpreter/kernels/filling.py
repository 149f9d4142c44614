"""Tensors made from a few numbers."""

from __future__ import annotations

import math

import numpy as np

from ....coreml import TensorType
from ....coreml.types import NUMPY
from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("fill")
def fill(arguments: Arguments) -> AnyArray:
    return _filled(arguments, arguments.integers("shape"))


@kernel("fill_like")
def fill_like(arguments: Arguments) -> AnyArray:
    return _filled(arguments, arguments.array("ref_tensor").shape)


def _filled(arguments: Arguments, shape: tuple[int, ...]) -> AnyArray:
    value = arguments.optional("value")
    return np.full(shape, 0.0 if value is None else value)


@kernel("range_1d")
def range_1d(arguments: Arguments) -> AnyArray:
    start, end, step = (arguments.array(name).reshape(()) for name in ("start", "end", "step"))
    if step == 0:
        raise arguments.fault("has a step of 0")
    # Counted in the declared type, as the converter does: in a wider one, 0.3 / 0.1 exceeds 3.
    declared = arguments.operation.outputs[0].type
    assert isinstance(declared, TensorType)
    narrow = [value.astype(NUMPY[declared.dtype]) for value in (start, end, step)]
    count = max(0, math.ceil((narrow[1] - narrow[0]) / narrow[2]))
    values: AnyArray = start + step * np.arange(count).astype(start.dtype)
    return values


@kernel("one_hot")
def one_hot(arguments: Arguments) -> AnyArray:
    """A new axis; an index outside it leaves `off_value` everywhere."""
    indices = arguments.array("indices")
    axis = arguments.integer("axis", -1)
    places = np.arange(arguments.integer("one_hot_vector_size"))
    on, off = arguments.optional("on_value"), arguments.optional("off_value")
    vectors = np.where(
        indices[..., None] == places,
        np.asarray(1) if on is None else on,
        np.asarray(0) if off is None else off,
    )
    return np.moveaxis(vectors, -1, axis)
