"""Networks whose values come near the end of half precision, or leave it."""

from __future__ import annotations

import torch
from torch import nn

from care_mobile.models.care import CARE, LinearAttention
from care_mobile.models.lively import draw


@torch.no_grad()
def amplified(care: CARE, factor: float, seed: int = 0) -> CARE:
    """`care` with lively weights and all its activations about `factor` times as large.

    Everything after the stem but GELU's bend is homogeneous: what leaves the stem scales the rest.
    """
    draw(care, seed)
    care.stem[1].weight *= factor
    care.stem[1].bias *= factor
    return care.eval()


@torch.no_grad()
def largest_activation(network: nn.Module, x: torch.Tensor) -> float:
    """The largest magnitude that any module without parts yields, attention among them."""
    found: list[float] = []

    def note(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        found.append(output.abs().max().item())

    parts = [m for m in network.modules() if not list(m.children())]
    assert any(isinstance(part, LinearAttention) for part in parts)
    handles = [part.register_forward_hook(note) for part in parts]
    network(x)
    for handle in handles:
        handle.remove()
    return max(found)
