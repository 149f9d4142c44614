"""Linear attention with the channels first, without a change of layout.

The paper's form takes tokens, (B, heads, N, d), out of maps, (B, C, H, W), and puts them back:
four transpositions and copies per block. With q, k, v as (d, N) per head the same products are::

    out = (v k^T / N) (q / (mean(k)^T q + eps))

and `k^T` is only a flag of the first product. Heads ride along the batch, (B heads, d, N): a
three-dimensional product needs no expanded copies. The positive map loses its ELU::

    ELU(t) + 1 = relu(t) + exp(t - relu(t))

exact, and accurate in half precision, where ELU(t) + 1 cancels for negative t: t - relu(t) is
t or 0, without rounding. q is divided before
the second product, not after: what it multiplies then is a weighted mean of v, while the undivided
product left the range of fp16 (85,671 on CARE-S0 under lively weights; found by the interpreter).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_mobile.models.care import LinearAttention

from .base import Network, Pass


class ChannelFirstLinearAttention(nn.Module):
    """`LinearAttention` computed on (B heads, d, N)."""

    def __init__(self, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.eps = eps

    def forward(self, qk: Tensor, v: Tensor) -> Tensor:
        """`qk` (B, 2g, H, W) with q before k, `v` (B, g, H, W) -> (B, g, H, W)."""
        batch, channels, height, width = v.shape
        positions = height * width
        rows = (batch * self.heads, channels // self.heads, positions)
        positive = torch.relu(qk)
        qk = positive + torch.exp(qk - positive)
        q, k = torch.split(qk, channels, dim=1)
        mean_k = k.mean((2, 3), keepdim=True).reshape(rows[0], 1, rows[1])
        q, k = q.reshape(rows), k.reshape(rows)
        # v / N first: sums over N positions of products would leave the range of fp16.
        context = torch.bmm(v.reshape(rows) * (1.0 / positions), k.transpose(1, 2))
        out = torch.bmm(context, q / (torch.bmm(mean_k, q) + self.eps))
        return out.reshape(batch, channels, height, width)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, eps={self.eps}"


def _rewrite(network: Network) -> None:
    for node, attention in network.calls(LinearAttention):
        owner, _, name = str(node.target).rpartition(".")
        replacement = ChannelFirstLinearAttention(attention.heads, attention.eps)
        setattr(network.model.get_submodule(owner), name, replacement.eval())
        network.changed()


CHANNEL_FIRST = Pass(
    "channel-first-attention",
    "linear attention on (heads, d, N): no transposition, relu and exp instead of ELU + 1",
    _rewrite,
)
