"""BatchNorm into a neighbouring convolution.

In evaluation BatchNorm is z = s x + t with s = weight / sqrt(var + eps), t = bias - mean s.

Backward, into the convolution before it, whatever that convolution's padding::

    s (W * x + b) + t = (s W) * x + (s b + t)

Forward, into the unpadded convolutions after it: see `affine`.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .affine import fold_backward, fold_into_users
from .base import NetworkEditor, Pass, only_user
from .functional import name_of

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor] | None:
    """(s, t) of the affine map, or None when the layer normalises by the batch at hand."""
    if norm.running_mean is None or norm.running_var is None:
        return None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def _leave_others(network: NetworkEditor) -> None:
    """Note the normalisations that are no modules, since their statistics are no constants."""
    for node in network.graph.nodes:
        name = name_of(node)
        if "batch_norm" not in name:
            continue
        running = name.endswith("no_training") or (name == "aten::batch_norm" and not node.args[5])
        network.leave(
            node,
            "its weights are no constants in float32"
            if running
            else "it normalises by the statistics of the batch",
        )


def _into_previous(network: NetworkEditor) -> None:
    _leave_others(network)
    for node, norm in network.calls(_KINDS):
        producer = node.args[0]
        conv = network.convolution(producer)
        if conv is None or not isinstance(producer, fx.Node):
            network.leave(node, f"{producer} before it is no convolution")
            continue
        affine = scale_and_shift(norm)
        reason = (
            "it normalises by the statistics of the batch"
            if affine is None
            else f"{producer.target} is read elsewhere too"
            if only_user(producer) is None
            else network.why_shared(producer)
        )
        if reason or affine is None:
            network.leave(node, reason or "")
            continue
        if network.claim(node):
            fold_backward(conv, *affine)
            network.replace(node, producer)


def _into_next(network: NetworkEditor) -> None:
    for node, norm in network.calls(_KINDS):
        affine = scale_and_shift(norm)
        if affine is None:
            network.leave(node, "it normalises by the statistics of the batch")
            continue
        fold_into_users(network, node, *affine)


INTO_PREVIOUS = Pass(
    "batch-norm-into-previous-conv",
    "BatchNorm folds back into the convolution before it",
    _into_previous,
)
INTO_NEXT = Pass(
    "batch-norm-into-next-conv",
    "BatchNorm folds forward into the unpadded convolution after it",
    _into_next,
)
