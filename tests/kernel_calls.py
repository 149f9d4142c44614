"""Single kernels: called by hand, or as one-operator programs held against two references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_programs import Array, Build, interpret, mb, oracle, types

from care_mobile.coreml import Named, Operation, TensorType
from care_mobile.runtimes.interpreter import KERNELS, Arguments, Numerics

FP16_SUBNORMAL_ULP = 2.0**-24


def arguments(operator: str, opset: int = 7, declared: str = "fp32", **values: Any) -> Arguments:
    """Those of an operation with one output; a list stands for a variadic input."""
    return Arguments(
        Operation(operator, {}, (Named("y", TensorType(declared, None)),)),
        {name: value if isinstance(value, list) else [value] for name, value in values.items()},
        Numerics.EXACT,
        opset,
    )


def call(operator: str, opset: int = 7, declared: str = "fp32", **values: Any) -> Any:
    """The kernel's result for parameters that a file may hold, or leave out."""
    return KERNELS[operator](arguments(operator, opset, declared, **values))


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """float32 numbers without subnormals, which CPUs may flush."""
    return st.floats(
        float(np.float32(low)), float(np.float32(high)), width=32, allow_subnormal=False
    )


def arrays(
    low: float = -10, high: float = 10, *, shape: Any = None, dtype: Any = np.float32
) -> st.SearchStrategy[Array]:
    """Arrays of rank 1 to 4, or of one shape (or strategy of shapes)."""
    sizes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4) if shape is None else shape
    if np.issubdtype(dtype, np.floating):
        return hnp.arrays(dtype, sizes, elements=numbers(low, high))
    if dtype == np.bool_:
        return hnp.arrays(dtype, sizes)
    return hnp.arrays(dtype, sizes, elements=st.integers(int(low), int(high)))


def run(
    build: Build, inputs: Mapping[str, Array], numerics: Numerics = Numerics.EXACT, ios: int = 17
) -> Any:
    """`interpret`, for any types: Core ML's interfaces know few, so others are cast inside."""
    outer = {name: array.astype(_interface(array.dtype, ios)) for name, array in inputs.items()}

    def program(**variables: Any) -> Any:
        for name, array in inputs.items():
            if outer[name].dtype != array.dtype:
                kind = _NAMES.get(array.dtype.name, array.dtype.name)
                variables[name] = mb.cast(x=variables[name], dtype=kind)
        result = build(**variables)
        outside = result.dtype in (types.fp16, types.fp32, types.int32)
        return result if outside else mb.cast(x=result, dtype="int32")

    return interpret(program, outer, numerics, ios)


_NAMES = {"float16": "fp16", "float32": "fp32"}


def _interface(dtype: np.dtype[Any], ios: int) -> np.dtype[Any]:
    if dtype == np.float16:
        return np.dtype(np.float32 if ios == 15 else np.float16)
    return dtype if dtype == np.float32 else np.dtype(np.int32)


def agree(
    build: Build,
    inputs: Mapping[str, Array],
    expected: Any,
    ios: int = 17,
    *,
    evaluated: bool = True,
) -> None:
    """The program gives `expected`, and so does coremltools' own evaluation, in float32.

    Args:
        expected: in float64, or integers.
        evaluated: whether coremltools can evaluate the operator.
    """
    expected = np.asarray(expected)
    result = run(build, inputs, ios=ios)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11)
    value = oracle(build, {name: array.copy() for name, array in inputs.items()}, ios)
    assert (value is not None) is evaluated
    if value is not None:
        if result.dtype.kind in "iu":
            value = np.trunc(value)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def rounds_once(build: Build, inputs: Mapping[str, Array], expected: Any, ios: int = 17) -> None:
    """In the declared types the result is the exact one, rounded to fp16 at the end only."""
    result = run(build, inputs, Numerics.DECLARED, ios)
    expected = np.asarray(expected, np.float64)
    assert result.dtype == np.float32
    assert np.array_equal(result.astype(np.float16), result)
    ulp = np.maximum(np.spacing(np.abs(expected).astype(np.float16)), FP16_SUBNORMAL_ULP)
    # Half of one, and float32's own error where two fp16 numbers are equally near.
    np.testing.assert_array_less(np.abs(result - expected), 0.502 * ulp.astype(np.float64))
