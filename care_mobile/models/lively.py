"""Random weights under which every part of a network matters.

A freshly initialised network proves nothing: layer scales of 1e-6 silence its blocks and
untouched BatchNorm statistics make the layer an identity. Here every tensor is drawn, statistics
moved and scales far from zero; a forward pass on photos and noise then settles scales and
statistics, so that activations are of order one at every layer of any architecture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

from ..inputs import Preprocessing, sample_photos
from .copying import copied
from .settling import Settling

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)
_NOISE = 2
_POWER_ITERATIONS = 20


def examples(preprocessing: Preprocessing, seed: int = 0) -> Tensor:
    """Normalised images (n, C, H, W): the two sample photos and noise over all pixel values."""
    size = preprocessing.resolution
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.0, 1.0, (_NOISE, preprocessing.channels, size.height, size.width))
    photos = [preprocessing.from_image(photo) for photo in sample_photos()]
    stack = np.concatenate([*photos, preprocessing.from_pixels(noise)])
    return torch.from_numpy(preprocessing.normalize(stack)).float()


@torch.no_grad()
def draw(model: nn.Module, seed: int, x: Tensor | None = None) -> None:
    """Redraw all parameters and running statistics of `model` in place.

    Each tensor depends on `seed` and its own name, so equal networks get equal weights on every
    machine, whatever the order of their modules; settled ones on `x` and what comes before, too.

    Args:
        x: inputs (n, C, H, W) to settle scales and statistics on. None for a part of a network:
            it gets what was drawn.

    Raises:
        Exception: whatever the network raises on `x`.
    """
    for name, module in model.named_modules():
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for leaf, tensor in tensors:
            if tensor.is_floating_point() and tensor.numel():
                full = f"{name}.{leaf}" if name else leaf
                tensor.copy_(_value(module, leaf, tensor, _generator(seed, full)))
    _follow_singular_vectors(model)
    if x is not None:
        tensors_by_name = dict([*model.named_parameters(), *model.named_buffers()])
        for name, value in _settled(model, x).items():
            tensors_by_name[name].copy_(value)


def _settled(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What a forward pass on `x` sets, by name; `model` stays as it is."""
    problem: Exception | None = None
    for twin, images in _attempts(model, x):
        mode = Settling(twin)
        try:
            with mode:
                twin(images)
        except Exception as error:  # whatever a user's network raises
            problem = problem or error
            continue
        return mode.settled
    assert problem is not None
    raise problem


def _attempts(model: nn.Module, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
    """On all images together; on one where a network fixes the batch."""
    for images in (x, x[:1]):
        yield copied(model), images.to(_dtype(model))


def _dtype(model: nn.Module) -> torch.dtype:
    kinds = [p.dtype for p in model.parameters() if p.is_floating_point()]
    return kinds[0] if kinds else torch.float32


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _value(module: nn.Module, leaf: str, tensor: Tensor, rng: torch.Generator) -> Tensor:
    shape = tensor.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    def normal(std: float) -> Tensor:
        return std * torch.randn(shape, generator=rng)

    parameter = leaf in dict(module.named_parameters(recurse=False))
    if leaf == "running_mean":
        return normal(0.2)
    if leaf in ("bias", "bias_orig") or (parameter and "bias" in leaf and tensor.dim() == 1):
        return normal(0.1)
    # A weight_norm's lengths are scales of whole filters, not of branches.
    if leaf in ("running_var", "weight_g", "original0") or isinstance(module, _NORMS):
        return uniform(0.5, 1.5)
    if (leaf == "weight" and tensor.dim() < 2) or not parameter:
        return tensor.clone()  # PReLU slopes, constant buffers: structure, not weights
    if _is_weight(leaf) and tensor.dim() >= 2:
        fan_in = tensor[0].numel()
        # Not He's gain of 2: residual blocks add up, and activations would grow to thousands.
        return normal((1.0 / fan_in) ** 0.5)
    # A layer scale, or position embeddings and the like.
    return uniform(0.02, 0.15) if tensor.squeeze().dim() <= 1 else normal(0.02)


def _is_weight(leaf: str) -> bool:
    """Also under the names that wrappers of torch give: `in_proj_weight`, `weight_orig`."""
    return "weight" in leaf or leaf.startswith("original")


def _follow_singular_vectors(model: nn.Module) -> None:
    """Let spectral norms, old and new, find the largest singular value of the drawn weight."""
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(_POWER_ITERATIONS):
                    hook.compute_weight(module, do_power_iteration=True)
        if isinstance(module, ParametrizationList):
            for step in module:
                if isinstance(step, _SpectralNorm):
                    step.train()  # it iterates once per call, in training only
                    for _ in range(_POWER_ITERATIONS):
                        step(module.original)
                    step.eval()
