"""Formulas by the operator they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Formula = Callable[..., Any]
Number = float | int

FORMULAS: dict[torch._ops.OperatorBase, Formula] = {}
"""Operator -> formula."""


def formula(*operators: torch._ops.OpOverload) -> Callable[[Formula], Formula]:
    """Register a formula for one or several operators."""

    def register(function: Formula) -> Formula:
        FORMULAS.update(dict.fromkeys(operators, function))
        return function

    return register
