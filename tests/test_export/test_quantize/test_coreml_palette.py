"""k-means in one dimension."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from care_mobile.export.quantize.coreml_palette import palette


def bell(count: int = 20_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float16)


def snr_db(weights: np.ndarray, bits: int) -> float:
    table, places = palette(weights, bits)
    exact = weights.astype(np.float64)
    error = table[places].astype(np.float64) - exact
    return float(10 * np.log10((exact**2).sum() / (error**2).sum()))


# The best tables for a normal distribution (Max, 1960) reach 20.22 dB with 16 values.
@pytest.mark.parametrize(("bits", "least"), [(4, 20.1), (6, 31.7), (8, 43.3)])
def test_bell_shaped_weights(bits: int, least: float) -> None:
    assert snr_db(bell(), bits) >= least


finite = st.floats(-60_000, 60_000, width=16)


@given(arrays(np.float16, array_shapes(max_dims=3, max_side=9), elements=finite))
def test_every_weight_gets_its_nearest_value(weights: np.ndarray) -> None:
    table, places = palette(weights, 4)
    assert table.shape == (16,)
    assert table.dtype == weights.dtype
    assert places.dtype == np.uint8
    assert (np.diff(table.astype(np.float64)) >= 0).all()
    distance = np.abs(weights.reshape(-1, 1).astype(np.float64) - table.astype(np.float64))
    chosen = np.take_along_axis(distance, places[:, None].astype(int), axis=1)[:, 0]
    np.testing.assert_array_equal(chosen, distance.min(axis=1))


@given(st.integers(0, 99), st.sampled_from((4, 6, 8)))
def test_opposite_weights_stay_opposite(seed: int, bits: int) -> None:
    half = bell(2000, seed)
    half = half[half != 0]  # a rare zero takes the smallest value, whose opposite it is not
    table, places = palette(np.concatenate([half, -half]), bits)
    held, opposite = np.split(table[places], 2)
    np.testing.assert_array_equal(held, -opposite)


def test_few_values_are_kept() -> None:
    weights = np.array([[0.5, -1.0], [0.25, 0.5]], np.float16)
    table, places = palette(weights, 4)
    np.testing.assert_array_equal(table[places].reshape(2, 2), weights)


def test_frequent_zeros_are_exact() -> None:
    weights = np.where(np.arange(20_000) % 3, np.float16(0), bell())
    table, places = palette(weights, 4)
    assert not table[places][weights == 0].any()


def test_clusters_without_values_keep_the_table_sorted() -> None:
    weights = np.concatenate([np.float16(1e-3) * bell(5000), [np.float16(6e4)]]).astype(np.float16)
    table, places = palette(weights, 4)
    assert (np.diff(table.astype(np.float64)) >= 0).all()
    assert table[places][-1] == np.float16(6e4)
