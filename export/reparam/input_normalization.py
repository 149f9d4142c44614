"""The input normalisation into the first convolution.

A network trained on x = (u r - mean) / std, where u is a pixel in the bundle's range and r brings
it to 0..1, takes u itself once the first convolution absorbs the map (see `affine` for the
equation). Exact only if that convolution has no zero padding: CARE's stem has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from .affine import fold_into_users
from .base import NetworkEditor, Pass


class InputNormalization(nn.Module):
    """x = scale * u + shift per channel of an NCHW input."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Sequence[float], shift: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float64))

    def forward(self, u: Tensor) -> Tensor:
        return u * self.scale.to(u)[:, None, None] + self.shift.to(u)[:, None, None]


def prepend(model: fx.GraphModule, scale: Sequence[float], shift: Sequence[float]) -> None:
    """Put x = scale * u + shift before everything `model` does with its input."""
    entry = next(node for node in model.graph.nodes if node.op == "placeholder")
    users = list(entry.users)
    model.add_submodule("input_normalization", InputNormalization(scale, shift))
    with model.graph.inserting_after(entry):
        node = model.graph.call_module("input_normalization", (entry,))
    for user in users:
        user.replace_input_with(entry, node)
    model.recompile()


def _fold(network: NetworkEditor) -> None:
    for node, module in network.calls(InputNormalization):
        fold_into_users(network, node, module.scale, module.shift)


FOLD = Pass(
    "input-normalization-into-stem",
    "pixel scaling, mean and standard deviation fold into the first convolution",
    _fold,
)
