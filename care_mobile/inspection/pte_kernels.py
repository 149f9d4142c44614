"""Multiply-accumulates of ExecuTorch's kernels, outside any backend.

A kernel's arguments are those of PyTorch's operator, then the tensor that it writes to; what counts
is what counts in `coreml.macs`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from .pte_program import Instruction, Value

Shapes = Sequence[tuple[int, ...]]
"""Of a kernel's arguments; () for what is no tensor."""


def kernel_macs(step: Instruction, values: Sequence[Value]) -> int | None:
    """None where it may multiply and is not known, or where a shape is not."""
    arguments = [values[index] for index in step.arguments]
    operator = step.name.partition("::")[2].partition(".")[0]
    if operator == "convolution":
        transposed = len(arguments) > 6 and bool(arguments[6].flag)
        count: Callable[[Shapes], int] | None = _transposed if transposed else _convolution
    else:
        count = _COUNTS.get(operator)
    if count is None:
        return 0 if _COMPUTES.isdisjoint(re.split(r"[_\W\d]+", step.name)) else None
    if any(a.kind == "tensor" and a.shape is None for a in arguments):
        return None
    try:
        return count([argument.shape or () for argument in arguments])
    except IndexError:
        return None


def _convolution(shapes: Shapes) -> int:
    """Per output element, one kernel of the weight (O, C/groups, *k)."""
    return math.prod(shapes[-1]) * math.prod(shapes[1][1:])


def _transposed(shapes: Shapes) -> int:
    """Per input element, one kernel of the weight (C, O/groups, *k)."""
    return math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _product(position: int) -> Callable[[Shapes], int]:
    """Per output element, the last axis of the argument at `position`."""
    return lambda shapes: math.prod(shapes[-1]) * shapes[position][-1]


_COUNTS: dict[str, Callable[[Shapes], int]] = {
    "mm": _product(0),
    "bmm": _product(0),
    "matmul": _product(0),
    "linear": _product(0),
    "addmm": _product(1),
    "baddbmm": _product(1),
}
_COMPUTES = frozenset({
    "conv", "convolution", "linear", "mm", "addmm", "bmm", "baddbmm", "addbmm", "matmul", "dot",
    "mv", "addmv", "attention", "sdpa", "einsum", "tensordot", "lstm", "gru", "rnn", "cdist",
})  # fmt: skip
"""Words in names of operators that multiply; some are not counted here."""
