"""The probe that needs the network: inputs which bring a denominator close to zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.inputs import Array, Preprocessing
from care_mobile.models.care import LinearAttention

NAME = "tiny-denominator"
_AMPLITUDES = (3.0, 10.0, 30.0)


def tiny_denominator(model: nn.Module, preprocessing: Preprocessing, seed: int = 0) -> Array:
    """One input (1, C, H, W) in the bundle's range that makes a division delicate.

    For linear attention: of a few flat images with faint noise, the one with the smallest
    normaliser q . mean(k) anywhere in the network. Without it: an almost flat image, on which
    normalisation layers divide by a tiny deviation.
    """
    size = preprocessing.resolution
    shape = (1, preprocessing.channels, size.height, size.width)
    rng = np.random.default_rng(seed)
    noise = 1e-3 * rng.standard_normal(shape)
    candidates = [noise]
    if any(isinstance(module, LinearAttention) for module in model.modules()):
        signs = np.sign(rng.standard_normal((2, 1, preprocessing.channels, 1, 1)))
        candidates += [a * sign + noise for a in _AMPLITUDES for sign in signs]
    inputs = [preprocessing.denormalize(x) for x in candidates]
    if len(inputs) == 1:
        return inputs[0]
    return min(inputs, key=lambda u: _smallest_normalizer(model, preprocessing.normalize(u)))


@torch.no_grad()
def _smallest_normalizer(model: nn.Module, x: np.ndarray) -> float:
    with _watching(model) as seen:
        model(torch.from_numpy(x).float())
    return min(seen, default=0.0)


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[float]]:
    """Collect the smallest normaliser of every linear attention while the model runs."""
    seen: list[float] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, LinearAttention)
        q, k = (F.elu(t) + 1.0 for t in args[0].flatten(2).chunk(2, dim=1))
        products = (q * k.mean(-1, keepdim=True)).unflatten(1, (module.heads, -1)).sum(2)
        seen.append(products.min().item())

    handles = [
        module.register_forward_pre_hook(note)
        for module in model.modules()
        if isinstance(module, LinearAttention)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
