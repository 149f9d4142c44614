from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from ml_programs import interpret, mb

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

from .support import agree, counting, run_kernel

quick = settings(max_examples=20, deadline=None)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@quick
@given(shapes, st.sampled_from([np.float32(-2.5), np.int32(7)]))
def test_fill_with_a_value_of_any_type(shape, value):
    x = np.array(shape, np.int32)
    expected = np.full(shape, value)

    def build(x):
        return mb.fill(shape=shape, value=value), mb.identity(x=x)

    agree(build, {"x": x}, [expected, x])
    assert interpret(build, {"x": x})[0].dtype.kind == expected.dtype.kind


def test_fill_to_a_computed_shape_and_like_another():
    x = counting(2, 3)
    expected = np.full((2, 3), 1.5, np.float32)
    agree(lambda x: mb.fill(shape=mb.shape(x=x), value=1.5), {"x": x}, expected)
    agree(lambda x: mb.fill_like(ref_tensor=x, value=1.5), {"x": x}, expected)


@quick
@given(st.integers(-5, 5), st.integers(-5, 5), st.integers(-3, 3).filter(bool))
def test_range_of_integers(start, end, step):
    expected = np.arange(start, end, step, dtype=np.int32)
    assume(expected.size)  # no tensor of Core ML is empty
    x = np.array([start, end, step], np.int32)

    def build(x):
        return mb.range_1d(start=start, end=end, step=step), mb.identity(x=x)

    agree(build, {"x": x}, [expected, x])


@quick
@given(st.integers(0, 4), st.integers(1, 9), st.sampled_from([0.1, 0.25, 0.3]))
@example(0, 3, 0.1)  # in float64 the float32 numbers 0.3 / 0.1 exceed 3
def test_range_of_floats_has_the_length_the_converter_declared(start, count, step):
    values = [np.float32(v) for v in (start, start + count * step, step)]
    x = counting(2)

    def build(x):
        return mb.range_1d(start=values[0], end=values[1], step=values[2]), mb.identity(x=x)

    for numerics in Numerics:
        result = interpret(build, {"x": x}, numerics)[0]
        expected = float(values[0]) + float(values[2]) * np.arange(result.size)
        np.testing.assert_allclose(result, expected, rtol=1e-6)
        assert result.size in (count, count + 1)


def test_a_range_without_step_is_refused():
    with pytest.raises(RuntimeFailure, match="step of 0"):
        run_kernel("range_1d", {"start": np.array(0), "end": np.array(3), "step": np.array(0)})


@quick
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(-3, 2),
    st.sampled_from([(1.0, 0.0), (2.5, -1.0)]),
)
def test_one_hot_as_torch_does(indices, axis, values):
    x = np.array([indices, indices[::-1]], np.int32)
    on, off = values
    hot = torch.nn.functional.one_hot(torch.from_numpy(x).long(), 5).movedim(-1, axis)
    expected = np.where(hot.numpy() == 1, np.float32(on), np.float32(off))

    def build(x):
        return mb.one_hot(indices=x, one_hot_vector_size=5, axis=axis, on_value=on, off_value=off)

    agree(build, {"x": x}, expected, value_inference=False)


def test_missing_parameters_take_documented_defaults():
    np.testing.assert_array_equal(run_kernel("fill", {"shape": [2]}), [0, 0])
    np.testing.assert_array_equal(run_kernel("fill_like", {"ref_tensor": counting(2)}), [0, 0])
    hot = run_kernel("one_hot", {"indices": np.array([1, -1, 9]), "one_hot_vector_size": 3})
    np.testing.assert_array_equal(hot, [[0, 1, 0], [0, 0, 0], [0, 0, 0]])
