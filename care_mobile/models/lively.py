"""Random weights under which every part of a network matters.

A freshly initialised network proves nothing: layer scales of 1e-6 silence its blocks and
untouched BatchNorm statistics make the layer an identity. Here every tensor is drawn so that
activations stay of order one: statistics moved, scales far from zero, weights fan-in scaled.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)


@torch.no_grad()
def draw(model: nn.Module, seed: int) -> None:
    """Redraw all parameters and running statistics of `model` in place.

    Each tensor depends on `seed` and its own name only, so equal networks get equal weights on
    every machine, whatever the order of their modules.
    """
    for name, module in model.named_modules():
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for leaf, tensor in tensors:
            if tensor.is_floating_point() and tensor.numel():
                full = f"{name}.{leaf}" if name else leaf
                tensor.copy_(_value(module, leaf, tensor, _generator(seed, full)))


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _value(module: nn.Module, leaf: str, tensor: Tensor, rng: torch.Generator) -> Tensor:
    shape = tensor.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    def normal(std: float) -> Tensor:
        return std * torch.randn(shape, generator=rng)

    if leaf in ("running_mean", "bias"):
        return normal(0.2 if leaf == "running_mean" else 0.1)
    if leaf == "running_var" or isinstance(module, _NORMS):
        return uniform(0.5, 1.5)
    if leaf == "weight" and tensor.dim() >= 2:
        fan_in = tensor[0].numel()
        # Not He's gain of 2: residual blocks add up, and activations would grow to thousands.
        return normal((1.0 / fan_in) ** 0.5)
    if leaf == "weight" or dict(module.named_parameters(recurse=False)).get(leaf) is None:
        return tensor.clone()  # PReLU slopes, constant buffers: structure, not weights
    if tensor.squeeze().dim() <= 1:  # a layer scale
        return uniform(0.02, 0.15)
    return normal(0.02)  # position embeddings and the like
