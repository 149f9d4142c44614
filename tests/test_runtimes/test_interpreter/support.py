"""What tests of kernels share: a comparison with the expected and with coremltools' own value, and
kernels called without a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ml_programs import Array, interpret, oracle

from care_mobile.coreml import Named, Operation, TensorType
from care_mobile.runtimes.interpreter import KERNELS, Arguments, Numerics

Build = Callable[..., Any]


def agree(
    build: Build,
    inputs: Mapping[str, Array],
    expected: Array | Sequence[Array],
    ios: int = 17,
    value_inference: bool = True,
) -> None:
    """The program gives `expected` in exact mode, and coremltools infers the same where it can.

    Args:
        value_inference: whether coremltools has one for this operator that is right.
    """
    wanted = [expected] if isinstance(expected, np.ndarray) else list(expected)
    results = interpret(build, inputs, ios=ios)
    _same([results] if len(wanted) == 1 else results, wanted)
    if value_inference:
        inferred = oracle(build, inputs, ios)
        _same([inferred] if len(wanted) == 1 else inferred, wanted)


def _same(found: Sequence[Array], wanted: Sequence[Array]) -> None:
    assert len(found) == len(wanted)
    for have, want in zip(found, wanted, strict=True):
        assert np.shape(have) == np.shape(want)
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-9)


def run_kernel(
    operator: str, values: Mapping[str, Any], opset: int = 7, dtype: str = "fp32"
) -> Any:
    """The kernel's own result for parameters given by hand, the others missing.

    Args:
        values: by parameter name; a tuple for a variadic one.
    """
    output = Named("result", TensorType(dtype, None))
    given = {
        name: value if isinstance(value, tuple) else (value,) for name, value in values.items()
    }
    operation = Operation(operator, {}, (output,))
    return KERNELS[operator](Arguments(operation, given, Numerics.EXACT, opset))


def counting(*shape: int, dtype: type[np.generic] = np.float32) -> Array:
    """0, 1, 2, ... in `shape`: every element tells where it came from."""
    return np.arange(np.prod(shape, dtype=np.int64)).astype(dtype).reshape(shape)
