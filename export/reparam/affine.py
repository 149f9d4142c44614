"""Folding a per-channel affine map into convolutions: those that read it, or the one before it.

With z_i = s_i x_i + t_i per input channel i and a convolution without zero padding::

    sum_ik W_oik z_i(.+k) + b_o  =  sum_ik (W_oik s_i) x_i(.+k) + (b_o + sum_ik W_oik t_i)

Zero padding breaks this: it pads z with 0, which is x = -t / s, not x = 0. Reflecting,
replicating and circular padding repeat values of z itself and keep it true.

Backward there is no such condition: s (W * x + b) + t = (s W) * x + (s b + t).
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from .base import ConvNd, NetworkEditor, set_bias


def is_padded(conv: ConvNd) -> bool:
    """Whether the convolution sees zeros beyond the border."""
    if conv.padding_mode != "zeros":
        return False
    if isinstance(conv.padding, str):
        return conv.padding == "same" and any(size > 1 for size in conv.kernel_size)
    return any(conv.padding)


def fold_into_users(network: NetworkEditor, node: fx.Node, scale: Tensor, shift: Tensor) -> bool:
    """Fold z = scale * x + shift, computed by `node` from its first argument, into its users.

    All users must be convolutions that allow it, else nothing changes and the reason is noted.
    """
    users = list(node.users)
    for user in users:
        reason = _why_not(network, user)
        if reason:
            network.leave(node, reason)
            return False
    if not network.claim(node):
        return False
    for user in users:
        conv = network.convolution(user)
        assert conv is not None
        fold_forward(conv, scale, shift)
    network.replace(node, node.args[0])  # type: ignore[arg-type]
    return True


def _why_not(network: NetworkEditor, user: fx.Node) -> str | None:
    conv = network.convolution(user)
    if conv is None:
        return f"{user.name} reads it and is no convolution"
    if is_padded(conv):
        return f"{user.target} pads with zeros (padding {conv.padding})"
    return network.why_shared(user)


@torch.no_grad()
def fold_forward(conv: ConvNd, scale: Tensor, shift: Tensor) -> None:
    """Let `conv` apply z = scale * x + shift to its input itself; both are (in_channels,)."""
    weight = conv.weight  # (out, in / groups, *kernel)
    out_per_group, in_per_group = conv.out_channels // conv.groups, conv.in_channels // conv.groups

    def for_weight(vector: Tensor) -> Tensor:
        """(in,) -> (out, in / groups, 1, ...): what each output channel of a group reads."""
        rows = vector.reshape(conv.groups, in_per_group).repeat_interleave(out_per_group, dim=0)
        return rows.reshape(conv.out_channels, in_per_group, *[1] * (weight.dim() - 2))

    moved = (weight * for_weight(shift)).flatten(1).sum(1)
    set_bias(conv, moved if conv.bias is None else conv.bias + moved)
    conv.weight.copy_(weight * for_weight(scale))


@torch.no_grad()
def fold_backward(conv: ConvNd, scale: Tensor, shift: Tensor | None = None) -> None:
    """Let `conv` apply scale * y + shift to its output itself; both are (out_channels,)."""
    conv.weight.copy_(conv.weight * scale.reshape(-1, *[1] * (conv.weight.dim() - 1)))
    if conv.bias is not None:
        shift = conv.bias * scale if shift is None else conv.bias * scale + shift
    if shift is not None:
        set_bias(conv, shift)
