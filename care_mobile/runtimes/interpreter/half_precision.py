"""What fp16 costs a program, and which operations to keep in fp32.

A candidate's gain is measured: the program is run again with its result left in fp32, which is
what keeping the operation *and those that use its result* in fp32 amounts to; a single operation
gains nothing, as its result would be rounded at the border.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...agreement import MAX_DB, psnr_db
from ...coreml import MLPackage
from ...frozen import Frozen
from .divergence import OnOperation, OperationDivergence, against_exact, consumers
from .executor import Interpreter
from .numerics import AnyArray, Numerics

WORTH_DB = 1.0
"""A gain at the outputs below this is within what rerolled rounding does by itself."""


class Candidate(Frozen):
    """One of the worst operations and what keeping it in fp32 brings at the outputs."""

    divergence: OperationDivergence
    consumers: tuple[str, ...]
    gain_db: float
    keep_fp32: bool


class HalfPrecision(Frozen):
    """The cost of fp16 on one input.

    Attributes:
        output_psnr_db: of the outputs against the exact run.
        first: the first operation that leaves the reference; None if none does.
        worst: the operations that do the most damage by themselves, worst first.
        kept_psnr_db: of the outputs with all recommended operations kept in fp32.
    """

    output_psnr_db: float
    first: OperationDivergence | None
    worst: tuple[Candidate, ...]
    kept_psnr_db: float


def half_precision(
    package: MLPackage,
    inputs: Mapping[str, AnyArray],
    count: int = 5,
    on_operation: OnOperation = lambda done, total: None,
) -> HalfPrecision:
    """Find the worst `count` operations of a program and measure what fp32 would bring.

    Raises:
        UsageError, RuntimeFailure: as `Interpreter.run`.
    """
    exact = _floats(Interpreter(package, Numerics.EXACT).run(inputs))
    base = _agreement(package, inputs, exact, frozenset())
    divergence = against_exact(package, inputs, on_operation=on_operation)
    worst = []
    for entry in divergence.worst(count):
        users = consumers(package, entry.operation)
        # Without a consumer the result is an output, and leaves as the type it is declared in.
        keep = frozenset({entry.operation} if users else ())
        gain = round(_agreement(package, inputs, exact, keep) - base, 2)
        worst.append(
            Candidate(
                divergence=entry,
                consumers=users,
                gain_db=gain,
                keep_fp32=gain >= WORTH_DB,
            )
        )
    advised = frozenset(c.divergence.operation for c in worst if c.keep_fp32)
    return HalfPrecision(
        output_psnr_db=base,
        first=divergence.first,
        worst=tuple(worst),
        kept_psnr_db=_agreement(package, inputs, exact, advised) if advised else base,
    )


def _agreement(
    package: MLPackage,
    inputs: Mapping[str, AnyArray],
    exact: list[AnyArray],
    keep: frozenset[str],
) -> float:
    outputs = _floats(Interpreter(package, Numerics.DECLARED, keep).run(inputs))
    pairs = zip(exact, outputs, strict=True)
    return round(min((psnr_db(a, b) for a, b in pairs), default=MAX_DB), 2)


def _floats(outputs: Mapping[str, Any]) -> list[AnyArray]:
    """Outputs in floating point, a classifier's scores among them."""
    arrays = [
        np.array(list(value.values())) if isinstance(value, dict) else np.asarray(value)
        for value in outputs.values()
    ]
    return [a.astype(np.float64) for a in arrays if np.issubdtype(a.dtype, np.floating)]
