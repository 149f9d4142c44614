"""Comparisons and logic with broadcasting, and the choice by a condition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, Kernel, kernel

_OPERATORS: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def _binary(function: Callable[[AnyArray, AnyArray], AnyArray]) -> Kernel:
    return lambda arguments: function(arguments.array("x"), arguments.array("y"))


for _name, _function in _OPERATORS.items():
    kernel(_name)(_binary(_function))


@kernel("logical_not")
def logical_not(arguments: Arguments) -> AnyArray:
    return np.logical_not(arguments.array("x"))


@kernel("select")
def select(arguments: Arguments) -> AnyArray:
    """a where cond, else b; without a and b the indices (n, rank) at which cond holds."""
    condition = arguments.array("cond").astype(bool)
    if not arguments.given("a") and not arguments.given("b"):
        return np.argwhere(condition).astype(np.int32)
    return np.where(condition, arguments.array("a"), arguments.array("b"))
