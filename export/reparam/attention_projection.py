"""All inputs of a channel-first linear attention from one convolution, for half precision.

The convolution that makes t = (t_q, t_k) out of the map a also hands over, per head::

    t,  t + 1,  s a,  s        (2d, 2d, d and 1 rows, s a power of two near 1 / N)

the first two because the positive map is the larger of an exponential and a line::

    ELU(t) + 1 = max(exp(min(t, 0)), t + 1)        since exp(t) >= t + 1

the others because one product with k then brings sum and normaliser together, and the scale of
both cancels::

    [C; m] = [s a; s] k^T,     out = C (q / (m q + s N eps))

q is divided before it meets C: the product C q grows with the cube of the activations and is the
first to leave the range of half precision (65,504). No reduction, no ELU, no second reading of a.

The range-safe form (`linear_attention`) takes m = k s^T first and seven operations more.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from .base import ConvNd, NetworkEditor, Pass, only_user
from .linear_attention import SMALLEST_SCALE, ChannelFirstLinearAttention, convex, safe_scale

_FLOOR = -1000.0
"""exp is zero from here on in every format; without a floor, a clamp becomes one at -infinity,
which the Neural Engine is said not to take."""

_HEADROOM = 2.0**-3
"""Lets the normaliser reach 2^19 before half precision overflows, which would silence a token; in
exchange an epsilon raised to 2^-14 counts as 2^-11, a twentieth of a percent where m q is one."""


class ProjectedLinearAttention(nn.Module):
    """Linear attention on (B heads, d, N) with its projection.

    `projection` yields per head 2d rows of t, 2d of t + 1, d of scale * a and one of scale.
    """

    def __init__(
        self,
        projection: nn.Conv2d,
        heads: int,
        eps: float,
        scale: float,
        range_safe: bool = False,
    ) -> None:
        super().__init__()
        self.range_safe = range_safe
        self.projection = projection
        self.heads = heads
        self.eps = eps
        self.scale = scale

    def forward(self, a: Tensor) -> Tensor:
        """`a` (B, g, H, W) -> (B, g, H, W)."""
        batch, channels, height, width = a.shape
        positions, d = height * width, channels // self.heads
        rows = self.projection(a).reshape(batch * self.heads, 5 * d + 1, positions)
        t, line, *values = torch.split(rows, self._parts(d), dim=1)
        qk = torch.maximum(torch.exp(torch.clamp(t, _FLOOR, 0.0)), line)
        q, k = torch.split(qk, [d, d], dim=1)
        guard = self.scale * positions * self.eps
        if self.range_safe:
            scaled, scale = values
            out = convex(q, k, scaled, torch.bmm(k, scale.transpose(1, 2)), guard)
            return out.reshape(batch, channels, height, width)
        context, mean_k = torch.split(torch.bmm(values[0], k.transpose(1, 2)), [d, 1], dim=1)
        normalizer = torch.bmm(mean_k, q) + guard
        return torch.bmm(context, q / normalizer).reshape(batch, channels, height, width)

    def _parts(self, d: int) -> list[int]:
        return [2 * d, 2 * d, d, 1] if self.range_safe else [2 * d, 2 * d, d + 1]

    def extra_repr(self) -> str:
        return (
            f"heads={self.heads}, eps={self.eps}, scale={self.scale}, range_safe={self.range_safe}"
        )


def _rewrite(network: NetworkEditor) -> None:
    for node, attention in network.calls(ChannelFirstLinearAttention):
        qk, a = node.args
        conv = network.convolution(qk)
        reason = _why_not(network, qk, a, conv)
        if reason or not isinstance(conv, nn.Conv2d):
            network.leave(node, reason or "q and k come from no convolution")
            continue
        if not network.claim(node):
            continue
        _, channels, height, width = network.shape(a) or (0, 0, 0, 0)
        d, safe = channels // attention.heads, attention.range_safe
        scale = safe_scale(height * width, d) if safe else _lean_scale(height * width)
        projection = _projection(conv, d, scale)
        module = ProjectedLinearAttention(projection, attention.heads, attention.eps, scale, safe)
        name = network.add_module(node, "projected", module.eval())
        with network.graph.inserting_before(node):
            replacement = network.graph.call_module(name, (a,))
        network.replace(node, replacement)


def _lean_scale(positions: int) -> float:
    return max(SMALLEST_SCALE, _HEADROOM * 2.0 ** -round(math.log2(positions)))


def _why_not(network: NetworkEditor, qk: object, a: object, conv: ConvNd | None) -> str | None:
    if not isinstance(qk, fx.Node) or not isinstance(conv, nn.Conv2d):
        return "q and k come from no convolution"
    if qk.args[0] is not a:
        return f"{qk.target} reads something else than the values"
    if {*conv.kernel_size, *conv.stride, conv.groups} != {1} or conv.padding not in ((0, 0), 0):
        return f"{qk.target} is no plain 1x1 convolution"
    if only_user(qk) is None:
        return f"{qk.target} is read elsewhere too"
    if network.shape(a) is None:
        return "the number of positions is not known"
    return None


@torch.no_grad()
def _projection(conv: nn.Conv2d, d: int, scale: float) -> nn.Conv2d:
    """The convolution g -> heads (5 d + 1) described above."""
    weight = conv.weight.flatten(1)  # (2 g, g): q of all heads, then k of all heads
    channels = weight.shape[1]
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias
    identity = scale * torch.eye(channels).to(weight)
    rows, shifts = [], []
    for head in range(channels // d):
        q, k = slice(head * d, head * d + d), slice(channels + head * d, channels + head * d + d)
        t, shift = torch.cat((weight[q], weight[k])), torch.cat((bias[q], bias[k]))
        rows += [t, t, identity[q], weight.new_zeros(1, channels)]
        shifts += [shift, shift + 1.0, bias.new_zeros(d), bias.new_full((1,), scale)]
    stacked = torch.cat(rows)
    projection = nn.Conv2d(channels, len(stacked), 1, dtype=weight.dtype)
    projection.weight = nn.Parameter(stacked[:, :, None, None], requires_grad=False)
    projection.bias = nn.Parameter(torch.cat(shifts), requires_grad=False)
    return projection


PROJECT = Pass(
    "project-attention-once",
    "one convolution brings a linear attention its q, k, values and normaliser",
    _rewrite,
)
