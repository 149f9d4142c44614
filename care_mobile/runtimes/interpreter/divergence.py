"""Which operation leaves the reference: two runs compared operation by operation.

Two numbers per operation tell apart where an error shows and where it is made:

- *accumulated*: the declared run against the exact run, with all that happened before;
- *alone*: the one operation in declared arithmetic on the exact run's inputs, rounded to their
  declared types, against its exact result. Cancellation, division by small numbers, overflow and
  subnormals show here, at the operation that causes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agreement import psnr_db
from ...coreml import MLPackage, Operation, Ref, TensorType
from ...coreml.types import FLOATS
from ...divergence import Divergence
from ...errors import RuntimeFailure
from ...half_precision import OperationDivergence
from .executor import Interpreter
from .numerics import FP16_SMALLEST_NORMAL, AnyArray, Numerics

OnOperation = Callable[[int, int], None]
"""Called with the number of operations compared and to compare."""


def against_exact(
    package: MLPackage,
    inputs: Mapping[str, AnyArray],
    numerics: Numerics = Numerics.DECLARED,
    on_operation: OnOperation = lambda done, total: None,
) -> Divergence:
    """The run in `numerics` against the exact run, side by side.

    Raises:
        UsageError, RuntimeFailure: as `Interpreter.run`.
    """
    exact = Interpreter(package, Numerics.EXACT)
    other = Interpreter(package, numerics)
    total = len(package.main.operations)
    found = []
    for want, have in zip(exact.steps(inputs), other.steps(inputs), strict=True):
        on_operation(want.index + 1, total)
        dtype = _float_type(want.operation)
        if dtype is None:
            continue
        alone = min(_psnr(a, b) for a, b in zip(want.outputs, other.repeat(want), strict=True))
        found.append(_entry(want.index, want.operation, dtype, want.outputs, have.outputs, alone))
    name = package.path.name
    return Divergence(
        reference=f"{name}, exact", other=f"{name}, {numerics.value}", operations=tuple(found)
    )


def between(reference: MLPackage, other: MLPackage, inputs: Mapping[str, AnyArray]) -> Divergence:
    """Two packages of one network, each in its declared types, where their results' names agree.

    Names agree up to the suffix that coremltools adds when it converts to fp16. An operation of
    `other` that `reference` lacks is left out.

    Raises:
        UsageError, RuntimeFailure: as `Interpreter.run`; also if no names agree.
    """
    shared = _names(reference) & _names(other)
    if not shared:
        raise RuntimeFailure(
            f"{reference.path.name} and {other.path.name} have no results of the same name",
            "compare packages that were converted from the same program",
        )
    kept = {
        _plain(step.operation.name): step.outputs
        for step in Interpreter(reference).steps(inputs)
        if _plain(step.operation.name) in shared
    }
    found = []
    for step in Interpreter(other).steps(inputs):
        want = kept.pop(_plain(step.operation.name), None)
        dtype = _float_type(step.operation)
        if want is None or dtype is None or _shapes(want) != _shapes(step.outputs):
            continue
        found.append(_entry(step.index, step.operation, dtype, want, step.outputs, None))
    return Divergence(reference=reference.path.name, other=other.path.name, operations=tuple(found))


def _entry(
    index: int,
    operation: Operation,
    dtype: str,
    want: Sequence[Any],
    have: Sequence[Any],
    alone: float | None,
) -> OperationDivergence:
    reference = np.concatenate([np.ravel(a).astype(np.float64) for a in want])
    other = np.concatenate([np.ravel(a).astype(np.float64) for a in have])
    size = np.abs(reference)
    finite = np.isfinite(reference)
    nonzero = finite & (reference != 0)
    return OperationDivergence(
        index=index,
        operation=operation.name,
        operator=operation.type,
        dtype=dtype,
        psnr_db=min(_psnr(a, b) for a, b in zip(want, have, strict=True)),
        alone_psnr_db=alone,
        largest=float(size[finite].max(initial=0.0)),
        overflows=int(np.count_nonzero(finite & np.isinf(other))),
        subnormals=int(np.count_nonzero(nonzero & (size < FP16_SMALLEST_NORMAL)))
        if dtype == "fp16"
        else 0,
        underflows=int(np.count_nonzero(nonzero & (other == 0))),
        nans=int(np.count_nonzero(np.isnan(other) & ~np.isnan(reference))),
    )


def _psnr(want: NDArray[Any], have: NDArray[Any]) -> float:
    """In dB, rounded; the lowest there is where NaN or unlike infinities are in either."""
    return round(psnr_db(np.asarray(want, np.float64), np.asarray(have, np.float64)), 2)


def _float_type(operation: Operation) -> str | None:
    """The declared type of the results if all are floating-point tensors, else None."""
    kinds = [named.type for named in operation.outputs]
    found = [kind.dtype for kind in kinds if isinstance(kind, TensorType) and kind.dtype in FLOATS]
    return found[0] if found and len(found) == len(kinds) else None


def _shapes(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    return [np.shape(array) for array in arrays]


def _names(package: MLPackage) -> set[str]:
    return {_plain(operation.name) for operation in package.main.operations}


def _plain(name: str) -> str:
    return re.sub(r"_cast_fp\d+$", "", name)


def consumers(package: MLPackage, operation: str) -> tuple[str, ...]:
    """Names of the operations that use a result of `operation`."""
    results = {
        named.name for op in package.main.operations if op.name == operation for named in op.outputs
    }
    return tuple(
        op.name
        for op in package.main.operations
        if any(isinstance(operand, Ref) and operand.name in results for operand in op.operands())
    )
