"""What fp16 costs an ML Program, and which of its operations to keep in fp32."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...agreement import MAX_DB, psnr_db
from ...coreml import MLPackage, Operation, Ref
from ...half_precision import HalfPrecision, Traced, advise, combined
from .divergence import OnOperation, against_exact, consumers
from .executor import Interpreter
from .numerics import AnyArray, Numerics


def half_precision(
    package: MLPackage,
    inputs: Sequence[Mapping[str, AnyArray]],
    count: int = 5,
    on_operation: OnOperation = lambda done, total: None,
) -> HalfPrecision:
    """Rank the operations of a program on some inputs; see `care_mobile.half_precision`.

    Names in `ranking` are `converted_name`s, which the conversion goes by.

    Raises:
        UsageError, RuntimeFailure: as `Interpreter.run`.
    """
    exact = [_floats(Interpreter(package, Numerics.EXACT).run(x)) for x in inputs]
    entries = combined(
        [against_exact(package, x, on_operation=on_operation).operations for x in inputs]
    )
    operations = {operation.name: operation for operation in package.main.operations}
    makers = {named.name: op.name for op in operations.values() for named in op.outputs}
    traced = [
        Traced(
            entry,
            producers=_producers(operations[entry.operation], makers),
            consumers=consumers(package, entry.operation),
        )
        for entry in entries
    ]

    def agreement(kept: Collection[str]) -> float:
        running = Interpreter(package, Numerics.DECLARED, frozenset(kept))
        pairs = [
            (want, have)
            for x, wanted in zip(inputs, exact, strict=True)
            for want, have in zip(wanted, _floats(running.run(x)), strict=True)
        ]
        return round(min((_psnr(want, have) for want, have in pairs), default=MAX_DB), 2)

    found = advise(traced, agreement, count)
    return found.model_copy(update={"ranking": tuple(converted_name(n) for n in found.ranking)})


def converted_name(name: str) -> str:
    """The name of an operation while coremltools converts it, before the cast to fp16."""
    return name.removesuffix("_cast_fp16")


def _producers(operation: Operation, makers: Mapping[str, str]) -> tuple[str, ...]:
    names = [makers.get(o.name) for o in operation.operands() if isinstance(o, Ref)]
    return tuple(dict.fromkeys(name for name in names if name))


def _floats(outputs: Mapping[str, Any]) -> list[AnyArray]:
    """Outputs in floating point, a classifier's scores among them."""
    arrays = [
        np.array(list(value.values())) if isinstance(value, dict) else np.asarray(value)
        for value in outputs.values()
    ]
    return [a.astype(np.float64) for a in arrays if np.issubdtype(a.dtype, np.floating)]


def _psnr(want: AnyArray, have: AnyArray) -> float:
    """The lowest there is where one is finite and the other not, or another infinity."""
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], have[~finite], equal_nan=True):
        return -MAX_DB
    return psnr_db(want[finite], have[finite])
