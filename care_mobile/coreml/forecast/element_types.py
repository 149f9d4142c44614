"""Rules about element types."""

from __future__ import annotations

from ..types import FLOATS
from .results import Severity
from .rule import COMMUNITY, COREMLTOOLS, Site, rule


@rule(
    "ane-fp32",
    "fp32 arithmetic",
    Severity.UNLIKELY,
    COREMLTOOLS,
    "convert with compute_precision=FLOAT16, and declare inputs and outputs as fp16 (iOS 16)",
)
def fp32(site: Site) -> str | None:
    wide = sorted({t.dtype for t in site.tensors() if t.dtype in ("fp32", "fp64")})
    if not wide:
        return None
    if site.operation.type == "cast":
        return f"converts from or to {wide[0]}, which the Neural Engine does not compute with"
    return f"computes in {wide[0]}; the Neural Engine computes in fp16"


@rule(
    "ane-int32",
    "integers mixed with floats",
    Severity.DOUBTFUL,
    COMMUNITY,
    "keep indices out of the network, or make them constants",
)
def int32(site: Site) -> str | None:
    if site.operation.type.startswith(("gather", "scatter")):
        return None  # they have a rule of their own
    dtypes = {t.dtype for t in site.tensors()}
    whole = sorted(dtypes & {"int32", "int64", "uint32", "uint64"})
    if not whole or not dtypes & FLOATS:
        return None
    return f"mixes {whole[0]} with floats; the Neural Engine knows 8- and 16-bit types"
