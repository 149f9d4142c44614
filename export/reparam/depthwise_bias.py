"""The bias of a depthwise convolution into the convolution after it.

A constant c per channel added before an unpadded convolution is a constant after it::

    W * (x + c) + b = W * x + (b + sum_ik W_oik c_i)

which is `affine` with scale 1 and shift c.
"""

from __future__ import annotations

import torch

from .affine import fold_forward, is_padded
from .base import NetworkEditor, Pass, only_user


def _fold(network: NetworkEditor) -> None:
    for node, conv in network.calls((torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)):
        if conv.bias is None or conv.groups == 1 or conv.groups != conv.in_channels:
            continue
        user = only_user(node)
        following = network.convolution(user)
        if user is None or following is None:
            network.leave(node, "it is not read by one convolution alone")
            continue
        reason = (
            f"{user.target} pads with zeros (padding {following.padding})"
            if is_padded(following)
            else network.why_shared(node) or network.why_shared(user)
        )
        if reason:
            network.leave(node, reason)
            continue
        if network.claim(node):
            fold_forward(following, torch.ones_like(conv.bias), conv.bias)
            conv.bias = None


FOLD = Pass(
    "depthwise-bias-into-pointwise",
    "the bias of a depthwise convolution folds into the 1x1 convolution after it",
    _fold,
)
