"""Scaled dot-product attention (iOS 18)."""

from __future__ import annotations

import math

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel
from .softmax import softmax_along


@kernel("scaled_dot_product_attention")
def scaled_dot_product_attention(arguments: Arguments) -> AnyArray:
    """softmax(query key^T / sqrt(E) + attn_mask) value.

    query (B, ..., L, E), key (B, ..., S, E), value (B, ..., S, EV) -> (B, ..., L, EV). The mask is
    broadcast to (B, ..., L, S): a float is added to the scores, false excludes an element. A row
    that excludes every element is NaN, as the formula is.
    """
    query, key = arguments.array("query"), arguments.array("key")
    scores = np.matmul(query * (1 / math.sqrt(query.shape[-1])), key.swapaxes(-1, -2))
    mask = arguments.optional("attn_mask")
    if mask is not None and mask.dtype == bool:
        scores = np.where(mask, scores, -np.inf)
    elif mask is not None:
        scores = scores + mask
    attended: AnyArray = np.matmul(softmax_along(scores, -1), arguments.array("value"))
    return attended
