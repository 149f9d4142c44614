"""Modules that a pass replaces as a whole: they stay one node of the captured program.

`torch.export` looks into every module. One of these types calls an operator of ours instead while
it is captured; `lifting` turns the operator back into the module.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from care_mobile.models.care import LinearAttention

from .linear_attention import LARGEST


@torch.library.custom_op("care_mobile::linear_attention", mutates_args=())
def linear_attention(
    qk: Tensor, v: Tensor, heads: int, eps: float, largest: float | None
) -> Tensor:
    """`LinearAttention(heads, eps)(qk, v)`; `largest` is what was noted of it, for passes."""
    result: Tensor = LinearAttention(heads, eps)(qk, v)
    return result.clone()


@linear_attention.register_fake
def _(qk: Tensor, v: Tensor, heads: int, eps: float, largest: float | None) -> Tensor:
    return torch.empty_like(v, memory_format=torch.contiguous_format)


def mark(model: nn.Module) -> None:
    """Let every module of these types in `model` call its operator. Changes `model`.

    A subclass may compute something else, and hooks may change what goes in and comes out: such
    modules are captured like any other.
    """
    for module in model.modules():
        hooks = module._forward_hooks or module._forward_pre_hooks
        if type(module) is LinearAttention and not hooks and "forward" not in vars(module):
            largest = getattr(module, LARGEST, None)
            call = partial(linear_attention, heads=module.heads, eps=module.eps, largest=largest)
            module.forward = call  # type: ignore[method-assign]
