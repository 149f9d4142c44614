"""Reparameterization: rewrites of a network that are exact in real arithmetic.

A new equivalence is one file here and one line in a list below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from care_mobile.errors import UsageError, unknown_name

from . import (
    attention_projection,
    attention_range,
    batch_norm,
    classifier_heads,
    closing_sum,
    depthwise_bias,
    input_normalization,
    layer_scale,
    linear_attention,
    local_branches,
    memory_channels,
    memory_residual,
)
from .base import NetworkEditor, Pass, PassResult
from .trace import trace

DEFAULT: tuple[Pass, ...] = (
    # First, while the stem is as published: its padding decides whether it may absorb the map.
    input_normalization.FOLD,
    # Backward before forward: a BatchNorm between two convolutions is free either way, but the
    # one before it may be padded.
    batch_norm.INTO_PREVIOUS,
    batch_norm.INTO_NEXT,
    layer_scale.FOLD,
    # After BatchNorm, which may give a depthwise convolution its bias.
    depthwise_bias.FOLD,
    classifier_heads.MERGE,
    # Last, since the others need not look into the attention.
    linear_attention.CHANNEL_FIRST,
)

OPTIONAL: tuple[Pass, ...] = (
    # One addition less per block, but a concatenation and a split more: no faster on either CPU
    # runtime (docs/reparameterization.md). Needs the layer scale folded.
    memory_residual.MERGE,
    # From here on fewer operations, more multiplications: right for Core ML, which asks for them.
    # XNNPACK takes 2.1 times as long after the first (same place).
    local_branches.MERGE,
    # For half precision; before the projection, which has a form for it too.
    attention_range.RANGE_SAFE,
    attention_projection.PROJECT,
    # After the branches, whose concatenation takes the memory in.
    memory_channels.JOIN_EARLY,
    memory_channels.THROUGH_DEPTHWISE,
    # Needs the layer scale folded, and excludes merging the memory's residuals.
    closing_sum.FUSE,
)
"""Equivalences that pay on some targets only; they run after the default ones when asked for."""

__all__ = [
    "DEFAULT",
    "OPTIONAL",
    "NetworkEditor",
    "Pass",
    "PassResult",
    "further",
    "select",
    "trace",
]


def select(added: Iterable[str] = (), skipped: Iterable[str] = ()) -> Sequence[Pass]:
    """The default passes without `skipped` (`all` skips every one), then the `added` ones.

    Raises:
        UsageError: for a name that is no pass, or one both added and skipped.
    """
    added, skipped = list(added), list(skipped)
    names = [p.name for p in (*DEFAULT, *OPTIONAL)]
    for name in (*added, *skipped):
        if name not in names and not (name == "all" and name in skipped):
            raise unknown_name("pass", name, names)
    both = set(added) & set(skipped)
    if both:
        raise UsageError(f"pass {both.pop()} is both asked for and skipped", "choose one")
    kept = [] if "all" in skipped else [p for p in DEFAULT if p.name not in skipped]
    return [*kept, *(p for p in (*DEFAULT, *OPTIONAL) if p.name in added and p not in kept)]


def further(
    wanted: Iterable[str], shared: Iterable[Pass], skipped: Iterable[str] = ()
) -> tuple[Pass, ...]:
    """What a target that wants these optional passes runs after the `shared` ones.

    In the order of `OPTIONAL`, without `skipped` (`all` skips every one).
    """
    wanted, skipped = set(wanted), set(skipped)
    without = {p.name for p in shared} | skipped
    if "all" in skipped:
        return ()
    return tuple(p for p in OPTIONAL if p.name in wanted and p.name not in without)
