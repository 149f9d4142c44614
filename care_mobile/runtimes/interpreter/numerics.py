"""In which arithmetic a program is run.

=============  ===================================================================
mode           arithmetic
=============  ===================================================================
exact          float64 throughout: the program as a formula
declared       the program's own types: every fp16 result is rounded to fp16, sums
               inside one operation are kept in float32
pessimistic    declared, and fp16 subnormals (below 2^-14) become zero, before and
               after every operation, as hardware may flush them
=============  ===================================================================

Between operations values travel in the *working* type, float64 or float32, already rounded to what
the program declares, so that kernels know one floating type only.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...coreml import TensorType, ValueType
from ...coreml.types import FLOATS, NUMPY

FP16_SMALLEST_NORMAL = 2.0**-14

AnyArray = NDArray[Any]


class Numerics(Enum):
    """See the module's docstring."""

    EXACT = "exact"
    DECLARED = "declared"
    PESSIMISTIC = "pessimistic"

    def working(self, dtype: str) -> type[np.generic]:
        """The numpy type in which values declared as `dtype` are held."""
        if dtype in FLOATS:
            return np.float64 if self is Numerics.EXACT or dtype == "fp64" else np.float32
        return NUMPY[dtype]

    def settle(self, value: AnyArray, declared: ValueType, keep_fp32: bool = False) -> AnyArray:
        """`value` as the program declares it: rounded, flushed, in the working type.

        Args:
            keep_fp32: do not round to fp16, as if the operation had been kept in fp32.
        """
        if not isinstance(declared, TensorType) or declared.dtype == "string":
            return value
        working = self.working(declared.dtype)
        if np.issubdtype(working, np.integer) and np.asarray(value).dtype.kind == "f":
            return to_integer(np.asarray(value), working)
        if declared.dtype != "fp16" or self is Numerics.EXACT or keep_fp32:
            return np.asarray(value, working)
        with np.errstate(over="ignore"):  # overflow becomes infinity, as it does there
            rounded = np.asarray(value).astype(np.float16).astype(working)
        if self is Numerics.PESSIMISTIC:
            rounded[np.abs(rounded) < FP16_SMALLEST_NORMAL] = 0.0
        return rounded


def to_integer(x: AnyArray, dtype: type[np.generic]) -> AnyArray:
    """Floats as integers: towards zero, saturated, NaN as 0, as Arm processors convert.

    Apple's reference is silent about values out of range, and numpy's result there depends on
    the processor.
    """
    limits = np.iinfo(np.dtype(dtype))
    # float64 holds every 32-bit limit exactly; the largest 64-bit one it would round up.
    high = np.nextafter(2.0**63, 0) if limits.max > 2**53 else float(limits.max)
    bounded = np.clip(np.nan_to_num(x.astype(np.float64), nan=0.0), float(limits.min), high)
    return bounded.astype(dtype)
