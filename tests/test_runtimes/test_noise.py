from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from care_mobile.bundle import Bundle, TensorSpec
from care_mobile.inputs import InputRange, Preprocessing, Resolution
from care_mobile.runtimes.noise import seeded_inputs

WriteBundle = Callable[..., Path]


def test_inputs_are_seeded_and_fit_the_manifest(write_bundle: WriteBundle) -> None:
    preprocessing = Preprocessing(
        resolution=Resolution(width=96, height=64), input_range=InputRange.BYTE
    )
    inputs = (TensorSpec(name="image", shape=(1, 3, 64, 96), kind="image"),)
    bundle = Bundle.open(write_bundle(inputs=inputs, preprocessing=preprocessing))
    first, again = seeded_inputs(bundle, 1)["image"], seeded_inputs(bundle, 1)["image"]
    assert first.shape == (1, 3, 64, 96)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, seeded_inputs(bundle, 2)["image"])
    normal = preprocessing.normalize(first)
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05


def test_a_free_dimension_is_one_and_every_type_of_numbers_can_be_made(
    write_bundle: WriteBundle,
) -> None:
    from care_mobile.tensors import NUMBERS

    inputs = tuple(TensorSpec(name=kind, shape=(None, 4), dtype=kind) for kind in sorted(NUMBERS))
    found = seeded_inputs(Bundle.open(write_bundle(inputs=inputs)), 0)
    for kind in NUMBERS:
        assert found[kind].shape == (1, 4)
        assert found[kind].dtype == np.dtype(kind)
