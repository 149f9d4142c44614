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

**Range-safe.** `mean(k)^T q` still grows with the square of the activations and leaves half
precision once they reach some hundred, although attention is a mean of means. With sums over the
positions n and the channels c of a head, values a s for a scale s near 1 / (N d), and ::

    m_c = s sum_n k_cn,    K = max(1, sum_c m_c),    delta any constant
    E_cj = sum_n (k_cn / (m_c + delta)) (s a_jn)
    w_cn = ((m_c + delta) / K) q_cn / (sum_c (m_c / K) q_cn + s N eps / K)
    out_jn = sum_c E_cj w_cn

delta and K cancel: the same formula for every positive m. k over its mean and q over its weighted
sum are convex weights, so E stays below the largest value, w and its denominator below the largest
q, and no partial sum of either product exceeds these. delta, the smallest normal number of half
precision, keeps a channel without keys from 0 / 0; K, at least one, keeps the guard below eps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from care_mobile.models.care import LinearAttention

from .base import NetworkEditor, Pass

LARGEST = "largest"
"""Attribute of a `LinearAttention` that `attention_range.note_largest` leaves."""

DELTA = 2.0**-14
"""See the module's docstring."""

_LARGEST_TOTAL = 65504.0
"""Without an upper end, a clamp becomes one at infinity; any positive K gives the same result."""

SMALLEST_SCALE = 2.0**-12
"""Keeps scale * a a normal number of half precision on maps of many thousand positions."""


class ChannelFirstLinearAttention(nn.Module):
    """`LinearAttention` computed on (B heads, d, N).

    Attributes:
        largest: of what its normaliser and its sums held on ordinary inputs; None if not watched.
        range_safe: whether no intermediate value exceeds the largest of q, k and v.
    """

    def __init__(
        self, heads: int, eps: float, largest: float | None = None, range_safe: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.eps = eps
        self.largest = largest
        self.range_safe = range_safe

    def forward(self, qk: Tensor, v: Tensor) -> Tensor:
        """`qk` (B, 2g, H, W) with q before k, `v` (B, g, H, W) -> (B, g, H, W)."""
        batch, channels, height, width = v.shape
        positions = height * width
        rows = (batch * self.heads, channels // self.heads, positions)
        positive = torch.relu(qk)
        qk = positive + torch.exp(qk - positive)
        q, k = torch.split(qk, channels, dim=1)
        if self.range_safe:
            scale = safe_scale(positions, rows[1])
            sums = k.mean((2, 3), keepdim=True).reshape(rows[0], rows[1], 1) * (scale * positions)
            guard = scale * positions * self.eps
            out = convex(q.reshape(rows), k.reshape(rows), v.reshape(rows) * scale, sums, guard)
            return out.reshape(batch, channels, height, width)
        mean_k = k.mean((2, 3), keepdim=True).reshape(rows[0], 1, rows[1])
        q, k = q.reshape(rows), k.reshape(rows)
        # v / N first: sums over N positions of products would leave the range of fp16.
        context = torch.bmm(v.reshape(rows) * (1.0 / positions), k.transpose(1, 2))
        out = torch.bmm(context, q / (torch.bmm(mean_k, q) + self.eps))
        return out.reshape(batch, channels, height, width)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, eps={self.eps}, range_safe={self.range_safe}"


def safe_scale(positions: int, d: int) -> float:
    """s of the range-safe form: a power of two near 1 / (N d), unless values became subnormal."""
    return max(SMALLEST_SCALE, 2.0 ** -round(math.log2(positions * d)))


def convex(q: Tensor, k: Tensor, values: Tensor, sums: Tensor, guard: float) -> Tensor:
    """The range-safe form, (B heads, d, N).

    Args:
        q, k: positive, (B heads, d, N).
        values: s a, of the same shape.
        sums: m, (B heads, d, 1).
        guard: s N eps.
    """
    total = torch.clamp(sums.sum(1, keepdim=True), 1.0, _LARGEST_TOTAL)
    shifted = sums + DELTA
    context = torch.bmm(k / shifted, values.transpose(1, 2))
    normalizer = torch.bmm((sums / total).transpose(1, 2), q) + guard / total
    return torch.bmm(context.transpose(1, 2), (shifted / total) * q / normalizer)


def _rewrite(network: NetworkEditor) -> None:
    for node, attention in network.calls(LinearAttention):
        if not network.claim(node):
            continue
        owner, _, name = str(node.target).rpartition(".")
        replacement = ChannelFirstLinearAttention(
            attention.heads, attention.eps, getattr(attention, LARGEST, None)
        )
        setattr(network.model.get_submodule(owner), name, replacement.eval())


CHANNEL_FIRST = Pass(
    "channel-first-attention",
    "linear attention on (heads, d, N): no transposition, relu and exp instead of ELU + 1",
    _rewrite,
)
