"""The range-safe form of linear attention, where the lean one comes near the end of half precision.

Whether it does is seen on ordinary inputs: `note_largest` notes the largest value of the
normaliser `mean(k)^T q` and of the sums `v k^T / N`, and the pass replaces the attentions whose
largest is within a factor of two of half precision's (65,504). Elsewhere the lean form stays: the
other takes seven operations more per block (docs/coreml.md).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from care_mobile.models.care import LinearAttention

from .base import NetworkEditor, Pass
from .linear_attention import LARGEST, ChannelFirstLinearAttention

MAX_LEAN = 2.0**15
"""Largest value that the lean form may come to on ordinary inputs; others may need a bit more."""


@torch.no_grad()
def note_largest(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Leave with every linear attention in `model` the largest value its lean form comes to.

    The note is a plain attribute of the module, which copies of it keep. A copy of `model` runs.

    Args:
        inputs: as the network takes them, each (1, C, H, W).
    """
    if not any(isinstance(module, LinearAttention) for module in model.modules()):
        return
    running = copy.deepcopy(model)
    attentions = {n: m for n, m in running.named_modules() if isinstance(m, LinearAttention)}
    for module in attentions.values():
        module.register_forward_hook(_note)
    for x in inputs:
        running(x)
    for name, module in attentions.items():
        setattr(model.get_submodule(name), LARGEST, getattr(module, LARGEST, None))


def _note(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
    assert isinstance(module, LinearAttention)
    before = getattr(module, LARGEST, None) or 0.0
    setattr(module, LARGEST, max(before, _largest(module.heads, *inputs)))


def _largest(heads: int, qk: Tensor, v: Tensor) -> float:
    batch, channels, height, width = v.shape
    rows = (batch * heads, channels // heads, height * width)
    q, k = ((nn.functional.elu(t) + 1.0).reshape(rows) for t in qk.chunk(2, dim=1))
    normalizer = torch.bmm(k.mean(2, keepdim=True).transpose(1, 2), q)
    context = torch.bmm(v.reshape(rows) / rows[2], k.transpose(1, 2))
    return max(normalizer.abs().max().item(), context.abs().max().item())


def _rewrite(network: NetworkEditor) -> None:
    for node, attention in network.calls(ChannelFirstLinearAttention):
        largest = attention.largest
        if attention.range_safe:
            continue
        if largest is None or largest <= MAX_LEAN:
            seen = "nothing was seen" if largest is None else f"the largest seen is {largest:.0f}"
            network.leave(node, f"half precision holds it: {seen}")
            continue
        if not network.claim(node):
            continue
        owner, _, name = str(node.target).rpartition(".")
        replacement = ChannelFirstLinearAttention(attention.heads, attention.eps, largest, True)
        setattr(network.model.get_submodule(owner), name, replacement.eval())


RANGE_SAFE = Pass(
    "range-safe-attention",
    "linear attention as a mean of means where half precision would not hold its normaliser",
    _rewrite,
)
