"""The operators, one file per family; importing a family registers it."""

from ..registry import KERNELS
from . import (
    activation,
    attention,
    comparison,
    elementwise,
    linear,
    reduction,
    softmax,
)

__all__ = [
    "KERNELS",
    "activation",
    "attention",
    "comparison",
    "elementwise",
    "linear",
    "reduction",
    "softmax",
]
