"""Rules about what moves data or is too small to gain."""

from __future__ import annotations

from ..program import Constant
from ..types import TensorType
from .layout import stored_bytes
from .results import Severity
from .rule import APPLE_TRANSFORMERS, COMMUNITY, Site, rule

TINY_BYTES = 4096
TINY_MACS = 65_536


@rule(
    "ane-transpose",
    "transpose of the last axis",
    Severity.COST,
    APPLE_TRANSFORMERS,
    "keep one layout, (batch, channels, 1, width), throughout",
)
def transpose(site: Site) -> str | None:
    permutation = site.integers("perm") if site.operation.type == "transpose" else None
    if not permutation or permutation[-1] in (-1, len(permutation) - 1):
        return None
    return f"moves the last axis: {list(permutation)}, a copy of the tensor"


@rule(
    "ane-reshape",
    "reshape of the last axis",
    Severity.COST,
    APPLE_TRANSFORMERS,
    "leave the last axis as it is",
)
def reshape(site: Site) -> str | None:
    before, after = site.input(), next(site.outputs(), None)
    if site.operation.type != "reshape" or not before or not after:
        return None
    if not before.shape or not after.shape or before.shape[-1] == after.shape[-1]:
        return None
    return f"{before} becomes {after}, a copy of the tensor"


@rule(
    "ane-needless-layout",
    "transpose or reshape that could be left out",
    Severity.COST,
    APPLE_TRANSFORMERS,
    "remove it, or join it with the one before",
)
def needless_layout(site: Site) -> str | None:
    kind = site.operation.type
    if kind not in ("transpose", "reshape"):
        return None
    before, after = site.input(), next(site.outputs(), None)
    if kind == "reshape" and before == after and before and None not in (before.shape or (None,)):
        return f"a reshape of {before} to itself"
    permutation = site.integers("perm")
    if permutation and permutation == tuple(range(len(permutation))):
        return "a transpose that moves nothing"
    producer = site.producer()
    return f"a {kind} of a {kind}" if producer and producer.type == kind else None


@rule(
    "ane-split",
    "split",
    Severity.COST,
    COMMUNITY,
    "fold it into the convolutions around it where that adds no operation",
)
def split(site: Site) -> str | None:
    if site.operation.type != "split":
        return None
    return f"a split into {len(site.operation.outputs)}; one measured network took 0.06 ms more"


@rule(
    "ane-concat",
    "concatenation",
    Severity.COST,
    COMMUNITY,
    "add instead, or fold it into the convolutions around it",
)
def concat(site: Site) -> str | None:
    if site.operation.type not in ("concat", "stack"):
        return None
    count = len(site.operation.inputs.get("values", ()))
    return f"a concatenation of {count}; one measured network took 0.09 ms more"


@rule(
    "ane-tiny",
    "tiny operation",
    Severity.COST,
    COMMUNITY,
    "merge it with its neighbours; Core ML may leave small tensors to the CPU",
)
def tiny(site: Site) -> str | None:
    if site.macs is None or site.macs > TINY_MACS:
        return None
    weights = sum(
        stored_bytes(operand.type)
        for operand in site.operation.operands()
        if isinstance(operand, Constant) and isinstance(operand.type, TensorType)
    )
    kinds = list(site.tensors())
    if not kinds or any(kind.shape is None or None in kind.shape for kind in kinds):
        return None
    total = weights + sum(stored_bytes(kind) for kind in kinds)
    return f"reads and writes {total:,} bytes in all" if 0 < total <= TINY_BYTES else None
