"""Inputs for a bundle when nothing but its manifest is known."""

from __future__ import annotations

import numpy as np

from ..bundle import Bundle
from .base import AnyArray


def seeded_inputs(bundle: Bundle, seed: int) -> dict[str, AnyArray]:
    """Noise for every input; images have unit variance in normalised space. Batch is 1."""
    rng = np.random.default_rng(seed)
    preprocessing = bundle.manifest.preprocessing
    size = (preprocessing.channels, preprocessing.resolution.height, preprocessing.resolution.width)
    inputs: dict[str, AnyArray] = {}
    for spec in bundle.manifest.inputs:
        shape = tuple(1 if side is None else side for side in spec.shape)
        noise = rng.standard_normal(shape)
        values = preprocessing.denormalize(noise) if shape[1:] == size else noise
        dtype = "float32" if spec.kind == "image" else spec.dtype  # pixels are rounded later
        with np.errstate(invalid="ignore", over="ignore"):  # noise as whole numbers may not fit
            inputs[spec.name] = np.asarray(values, dtype=dtype, order="C")
    return inputs
