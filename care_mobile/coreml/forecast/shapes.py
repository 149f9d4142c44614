"""Rules about shapes."""

from __future__ import annotations

from .results import Severity
from .rule import APPLE_FORUM, COMMUNITY, COREMLTOOLS, Site, rule

MAX_RANK = 5
MAX_AXIS = 16_384


@rule(
    "ane-rank",
    f"rank above {MAX_RANK}",
    Severity.UNLIKELY,
    COREMLTOOLS,
    "merge or split axes so that no tensor has more than five, better four",
)
def rank(site: Site) -> str | None:
    rank = max((len(t.shape) for t in site.tensors() if t.shape is not None), default=0)
    return f"handles a tensor of rank {rank}" if rank > MAX_RANK else None


@rule(
    "ane-axis-limit",
    f"axis longer than {MAX_AXIS:,}",
    Severity.UNLIKELY,
    COMMUNITY,
    f"split the tensor so that no axis is longer than {MAX_AXIS:,}",
)
def axis_limit(site: Site) -> str | None:
    longest = max((n or 0 for t in site.tensors() for n in t.shape or ()), default=0)
    return f"handles a tensor with an axis of {longest:,}" if longest > MAX_AXIS else None


@rule(
    "ane-dynamic-shape",
    "shape known only at run time",
    Severity.DOUBTFUL,
    APPLE_FORUM,
    "convert with fixed shapes, or with EnumeratedShapes",
)
def dynamic_shape(site: Site) -> str | None:
    for kind in site.tensors():
        if kind.shape is None or None in kind.shape:
            return f"handles {kind}; of a range only the default shape runs there"
    return None
