"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count_macs(model: nn.Module, x: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products for one forward pass of `x`.

    PyTorch counts two operations per multiply-accumulate; elementwise work counts nothing.
    """
    with FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops()) // 2


def count_parameters(model: nn.Module) -> int:
    """Learnable numbers, each counted once."""
    return sum(p.numel() for p in model.parameters())
