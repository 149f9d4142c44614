"""The user's own network: run without being changed by it.

A module may hold state: a normalisation that initialises itself on first use, counters, running
averages. Whatever is asked of a network here is asked of a copy, so that it is exported as it came.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from care_mobile.errors import ModelError
from care_mobile.models.copying import copied

__all__ = ["answer", "copied", "flatten"]


@torch.no_grad()
def answer(model: nn.Module, x: Tensor) -> list[Tensor]:
    """What `model`, as it is now, gives for `x` (1, C, H, W): its output tensors in order.

    Neither `model` nor `x` changes, even if the network writes into its state or its input.

    Raises:
        ModelError: if the result holds anything but tensors.
    """
    return flatten(copied(model)(x.clone()))


def flatten(outputs: object) -> list[Tensor]:
    """The tensors in a network's result, in order; None in it, an output left out, is none.

    Raises:
        ModelError: if it holds anything but tensors.
    """
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    elif dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        outputs = [getattr(outputs, part.name) for part in dataclasses.fields(outputs)]
    if isinstance(outputs, list | tuple):
        return [tensor for part in outputs if part is not None for tensor in flatten(part)]
    raise ModelError(f"the network returns a {type(outputs).__name__}, not tensors")
