"""The rules, in the order in which their findings are listed."""

from __future__ import annotations

from .constants import epsilon, fp32_literal, infinity, subnormal
from .cost import concat, needless_layout, reshape, split, tiny, transpose
from .element_types import fp32, int32
from .layout import last_axis, singleton
from .operators import dynamic_weight, gather, pool, stride, unsupported, wide_kernel
from .rule import Rule
from .shapes import axis_limit, dynamic_shape, rank

RULES: tuple[Rule, ...] = (
    fp32,
    int32,
    rank,
    axis_limit,
    dynamic_shape,
    unsupported,
    gather,
    dynamic_weight,
    pool,
    stride,
    wide_kernel,
    infinity,
    fp32_literal,
    epsilon,
    subnormal,
    singleton,
    last_axis,
    transpose,
    reshape,
    needless_layout,
    split,
    concat,
    tiny,
)
