from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import interpret, mb, oracle

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

from .support import run_kernel

quick = settings(max_examples=15, deadline=None)
X = np.random.default_rng(0).normal(0, 20, (2, 3, 4)).astype(np.float32)
SCALES = np.array([0.5, 0.25, 2.0], np.float32)
TORCH = {"int8": torch.qint8, "uint8": torch.quint8}
POINTS = {"int8": np.array([0, -7, 100], np.int8), "uint8": np.array([0, 128, 255], np.uint8)}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [1, -2, None])
def test_quantize_and_dequantize_as_torch_do(dtype, axis):
    point = POINTS[dtype] if axis is not None else POINTS[dtype][1]
    scale = SCALES if axis is not None else SCALES[1]
    parameters = {"scale": scale, "zero_point": point} | ({} if axis is None else {"axis": axis})

    def quantized(x):
        small = mb.quantize(input=x, output_dtype=dtype, **parameters)
        return mb.cast(x=small, dtype="int32"), mb.dequantize(input=small, **parameters)

    if axis is None:
        wanted = torch.quantize_per_tensor(
            torch.from_numpy(X), float(scale), int(point), TORCH[dtype]
        )
    else:
        wanted = torch.quantize_per_channel(
            torch.from_numpy(X), torch.from_numpy(scale), torch.from_numpy(point.astype(np.int64)),
            1, TORCH[dtype],
        )  # fmt: skip
    whole, back = interpret(quantized, {"x": X})
    np.testing.assert_array_equal(whole, wanted.int_repr().numpy())
    np.testing.assert_allclose(back, wanted.dequantize().numpy(), rtol=1e-9)
    np.testing.assert_array_equal(oracle(quantized, {"x": X})[0], whole)


@quick
@given(st.integers(-300, 300), st.integers(-128, 127))
def test_quantize_rounds_half_to_even_and_clips(halves, point):
    inputs = {
        "input": np.array([halves / 2]),
        "scale": np.array(1.0),
        "zero_point": np.array(point, np.int8),
        "output_dtype": "int8",
    }
    assert run_kernel("quantize", inputs) == max(-128, min(127, round(halves / 2) + point))


def test_unsigned_differences_do_not_wrap():
    inputs = {"input": np.array([3], np.uint8), "scale": np.array(0.5)}
    result = run_kernel("dequantize", inputs | {"zero_point": np.array(5, np.uint8)})
    np.testing.assert_array_equal(result, [-1.0])


def test_fp16_results_are_rounded_once():
    scale, point = np.float16(0.1), np.int8(3)

    def build(x):
        small = mb.quantize(input=x, scale=scale, zero_point=point, output_dtype="int8")
        return mb.dequantize(input=small, scale=scale, zero_point=point)

    x = np.linspace(-9, 9, 64).astype(np.float16)
    result = interpret(build, {"x": x}, Numerics.DECLARED)
    steps = np.clip(np.round(x.astype(np.float32) / np.float32(scale)) + 3, -128, 127) - 3
    np.testing.assert_array_equal(result, (steps * np.float32(scale)).astype(np.float16))


def test_other_types_and_missing_axes_are_refused():
    inputs = {"input": X, "scale": SCALES}
    with pytest.raises(RuntimeFailure, match="quantizes to 'int4', which is not known"):
        run_kernel("quantize", inputs | {"output_dtype": "int4", "axis": 1})
    with pytest.raises(RuntimeFailure, match="has 0 values for 'axis'"):
        run_kernel("quantize", inputs | {"output_dtype": "int8"})


def test_a_missing_zero_point_is_zero():
    inputs = {"input": np.array([2.0, -3.0]), "scale": np.array(0.5)}
    whole = run_kernel("quantize", inputs | {"output_dtype": "int8"})
    np.testing.assert_array_equal(whole, [4, -6])
    back = run_kernel("dequantize", {"input": whole, "scale": np.array(0.5)})
    np.testing.assert_array_equal(back, [2, -3])
