"""Tables of values for weights: k-means in one dimension, over magnitudes.

A table holds each value with both signs, so w and -w stay exact opposites: networks rely on that
(ELU(t) + 1 as relu(t) + exp(-relu(-t)), with t and -t from one convolution), and weights are
nearly symmetric, so it costs no accuracy. Weights that are often exactly zero, as in small kernels
embedded in larger ones, get an exact zero.

coremltools' own k-means takes minutes on a network, needs scikit-learn and knows nothing of signs.
In one dimension clusters are intervals of the sorted values, so cumulative sums give every mean
and each of Lloyd's rounds costs a few searches. The start has levels as dense as the cube root of
the values' density, the optimum for fine tables (Panter and Dite, 1951), so few rounds follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 100
_BINS = 512

Array = NDArray[Any]


def palette(weights: Array, bits: int) -> tuple[Array, Array]:
    """The table and, for every weight, its place in it.

    Args:
        weights: of any shape, finite.

    Returns:
        (2 ** bits,) ascending values of the weights' type, and uint8 indices (weights.size,).
    """
    values, places, counts = np.unique(weights, return_inverse=True, return_counts=True)
    size = 2**bits
    if len(values) <= size:
        table = np.concatenate([values, np.full(size - len(values), values[-1])])
        nearest = np.arange(len(values))
    else:
        half = _magnitudes(values.astype(np.float64), counts, size).astype(weights.dtype)
        table = np.concatenate([-half[::-1], half])
        # By magnitude, so that a weight halfway between two values falls as its opposite does.
        step = np.searchsorted(_borders(half.astype(np.float64)), np.abs(values.astype(np.float64)))
        nearest = np.where(values < 0, size // 2 - 1 - step, size // 2 + step)
    return table, nearest[places.reshape(-1)].astype(np.uint8)


def _magnitudes(values: Array, counts: Array, size: int) -> Array:
    """(size / 2,) ascending, from zero where zero is worth an entry."""
    magnitudes, places = np.unique(np.abs(values), return_inverse=True)
    weights = np.bincount(places.reshape(-1), counts)
    zero = magnitudes[0] == 0 and weights[0] >= weights.sum() / size
    if zero:
        magnitudes, weights = magnitudes[1:], weights[1:]
    half = _settle(magnitudes, weights, _start(magnitudes, weights, size // 2 - zero))
    return np.concatenate([[0.0], half]) if zero else half


def _start(values: Array, counts: Array, size: int) -> Array:
    density, edges = np.histogram(values, _BINS, weights=counts)
    steps = np.cumsum(np.cbrt(density))
    wanted = (np.arange(size) + 0.5) / size * steps[-1]
    table: Array = np.interp(wanted, np.concatenate([[0.0], steps]), edges)
    return table


def _settle(values: Array, counts: Array, table: Array) -> Array:
    """Lloyd's rounds until nothing moves; a cluster without values keeps its place."""
    total = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * values)])
    for _ in range(MAX_ROUNDS):
        cuts = np.concatenate([[0], np.searchsorted(values, _borders(table)), [len(values)]])
        weight = np.diff(total[cuts])
        filled = weight > 0
        moved = table.copy()
        moved[filled] = np.diff(moment[cuts])[filled] / weight[filled]
        if np.array_equal(moved, table):
            break
        table = moved
    return table


def _borders(table: Array) -> Array:
    borders: Array = (table[1:] + table[:-1]) / 2
    return borders
