"""Rules about the last axis, which the Neural Engine pads to 64 bytes."""

from __future__ import annotations

import math

from ..types import BITS, TensorType, ValueType
from .results import Severity
from .rule import APPLE_TRANSFORMERS, Site, rule

ALIGNMENT_BYTES = 64
WORTH_TELLING = 1.5
WORTH_TELLING_BYTES = 1024
"""Padding that multiplies memory by less, or adds less, is not reported per operation."""


def stored_bytes(kind: ValueType) -> int:
    """Bytes of a tensor held densely; 0 where its shape is not known."""
    if not isinstance(kind, TensorType) or not kind.shape or None in kind.shape:
        return 0
    return -(-math.prod(size or 0 for size in kind.shape) * BITS.get(kind.dtype, 0) // 8)


def padded_bytes(kind: ValueType) -> int:
    """The same with its last axis padded to a multiple of 64 bytes."""
    if not stored_bytes(kind) or not isinstance(kind, TensorType) or not kind.shape:
        return 0
    row = -(-(kind.shape[-1] or 0) * BITS[kind.dtype] // 8)
    return math.prod(size or 0 for size in kind.shape[:-1]) * (
        -(-row // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    )


def _padded(site: Site) -> list[TensorType]:
    """Its outputs that take much more memory than they need."""
    return [
        kind
        for kind in site.outputs()
        if padded_bytes(kind) >= WORTH_TELLING * stored_bytes(kind)
        and padded_bytes(kind) - stored_bytes(kind) >= WORTH_TELLING_BYTES
    ]


def _padding(kind: TensorType) -> str:
    stored, padded = stored_bytes(kind), padded_bytes(kind)
    factor = padded / stored
    return f"{kind} takes {factor:.1f} times its memory, {padded - stored:,} bytes more"


@rule(
    "ane-singleton-axis",
    "singleton last axis",
    Severity.COST,
    APPLE_TRANSFORMERS,
    "put a long axis last, for example (batch, channels, 1, width)",
)
def singleton(site: Site) -> str | None:
    return next((_padding(t) for t in _padded(site) if t.shape and t.shape[-1] == 1), None)


@rule(
    "ane-last-axis",
    f"last axis padded to {ALIGNMENT_BYTES} bytes, {WORTH_TELLING} times the memory or more",
    Severity.COST,
    APPLE_TRANSFORMERS,
    "choose a resolution whose feature maps are multiples of 32 wide, or put a longer axis last",
)
def last_axis(site: Site) -> str | None:
    return next((_padding(t) for t in _padded(site) if t.shape and t.shape[-1] != 1), None)
