"""Rules about the values of constants."""

from __future__ import annotations

import numpy as np

from ..program import Constant
from ..types import TensorType
from .results import Severity
from .rule import COMMUNITY, Site, rule

MANY_SUBNORMAL = 0.1
"""Share of a weight's nonzero values; trained weights hold a few tenths of a percent."""
_FP16_EXPONENT = np.uint16(0x7C00)
_FP16_MAGNITUDE = np.uint16(0x7FFF)


@rule(
    "ane-infinity",
    "infinity or NaN as a constant",
    Severity.DOUBTFUL,
    COMMUNITY,
    "write -4e4 for minus infinity, in masks for example",
)
def infinity(site: Site) -> str | None:
    for parameter, constant in site.floats():
        if not _is_finite(constant):
            return f"{parameter} holds an infinity or NaN"
    return None


@rule(
    "ane-fp32-literal",
    "fp32 literal",
    Severity.DOUBTFUL,
    COMMUNITY,
    "write the number as fp16; compute_precision=FLOAT16 does",
)
def fp32_literal(site: Site) -> str | None:
    for parameter, constant in site.floats():
        # Scale factors are fp32 by the definition of the operators that resize.
        scales = parameter.startswith("scale_factor")
        if _is_scalar(constant) and _dtype(constant) == "fp32" and not scales:
            return f"{parameter} is a literal in fp32"
    return None


@rule(
    "ane-epsilon",
    "number too small for fp16",
    Severity.COST,
    COMMUNITY,
    "use an epsilon of 6.2e-5 or more, or keep the operation in fp32",
)
def epsilon(site: Site) -> str | None:
    for parameter, constant in site.floats():
        if _dtype(constant) != "fp16" or not _is_scalar(constant):
            continue
        value = float(np.asarray(constant.value).reshape(()))
        if parameter == "epsilon" and value == 0:
            return "epsilon is zero in fp16"
        if 0 < abs(value) < 2.0**-14:
            return f"{parameter} = {value:.2g} is subnormal in fp16 and may become zero"
    return None


@rule(
    "ane-subnormal",
    "weights that are subnormal in fp16",
    Severity.COST,
    COMMUNITY,
    "fold the scale of these weights into a neighbour",
)
def subnormal(site: Site) -> str | None:
    for parameter, constant in site.floats():
        if _is_scalar(constant) or _dtype(constant) != "fp16":
            continue
        magnitudes = _fp16_bits(constant) & _FP16_MAGNITUDE
        nonzero = np.count_nonzero(magnitudes)
        tiny = nonzero - np.count_nonzero(magnitudes & _FP16_EXPONENT)
        if nonzero and tiny / nonzero >= MANY_SUBNORMAL:
            return f"{tiny / nonzero:.0%} of {parameter} is below 6.1e-5 and may become zero"
    return None


def _is_scalar(constant: Constant) -> bool:
    kind = constant.type
    return isinstance(kind, TensorType) and all(n == 1 for n in kind.shape or ())


def _dtype(constant: Constant) -> str:
    return constant.type.dtype if isinstance(constant.type, TensorType) else ""


def _is_finite(constant: Constant) -> bool:
    if _dtype(constant) != "fp16":
        return bool(np.isfinite(constant.value).all())
    # On the bits: numpy's arithmetic in fp16 takes ten times as long.
    return not bool(((_fp16_bits(constant) & _FP16_EXPONENT) == _FP16_EXPONENT).any())


def _fp16_bits(constant: Constant) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.ascontiguousarray(constant.value, np.float16).view(np.uint16)
