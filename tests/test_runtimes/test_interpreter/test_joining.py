from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import interpret, mb

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

from .support import agree, counting, run_kernel

quick = settings(max_examples=20, deadline=None)
axes = st.integers(-3, 2)


@quick
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), axes)
def test_concat_as_torch_does(sizes, axis):
    inputs = {}
    for index, size in enumerate(sizes):
        shape = [2, 3, 2]
        shape[axis] = size
        inputs[f"x{index}"] = counting(*shape) + 100 * index
    expected = torch.cat([torch.from_numpy(x) for x in inputs.values()], axis).numpy()
    # coremltools folds only small tensors, into symbols when one is not constant.
    agree(lambda **xs: mb.concat(values=tuple(xs.values()), axis=axis), inputs, expected)


@quick
@given(st.integers(1, 3), axes)
def test_interleaved_concat_takes_elements_in_turn(count, axis):
    inputs = {f"x{i}": counting(2, 3, 2) + 100 * i for i in range(count)}
    shape = [2, 3, 2]
    shape[axis] *= count
    expected = np.zeros(shape, np.float32)
    for index, x in enumerate(inputs.values()):
        place = [slice(None)] * 3
        place[axis] = slice(index, None, count)
        expected[tuple(place)] = x
    # coremltools forgets `interleave` when it folds.
    agree(
        lambda **xs: mb.concat(values=tuple(xs.values()), axis=axis, interleave=True),
        inputs,
        expected,
        value_inference=False,
    )


def test_concat_has_the_example_of_the_reference():
    first = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    second = first + 6
    result = run_kernel("concat", {"values": (first, second), "axis": 0, "interleave": True})
    np.testing.assert_array_equal(result, [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]])


def test_scalars_become_a_vector():
    values = (np.array(3), np.array(4))
    np.testing.assert_array_equal(run_kernel("concat", {"values": values, "axis": 0}), [3, 4])


@quick
@given(st.integers(1, 3), st.integers(-3, 2))
def test_stack_as_torch_does(count, axis):
    inputs = {f"x{i}": counting(2, 3) + 10 * i for i in range(count)}
    expected = torch.stack([torch.from_numpy(x) for x in inputs.values()], axis).numpy()
    agree(lambda **xs: mb.stack(values=tuple(xs.values()), axis=axis), inputs, expected)


def test_other_shapes_are_refused_in_one_line():
    inputs = {"values": (counting(2, 2), counting(3)), "axis": 0}
    with pytest.raises(ValueError, match="dimension"):
        run_kernel("concat", inputs)
    with pytest.raises(RuntimeFailure, match="lacks its input 'values'"):
        run_kernel("stack", {"axis": 0})


def test_fp16_values_pass_unchanged():
    x = np.array([0.1, -65504.0, 6e-8], np.float16)
    build = lambda x: mb.concat(values=(x, x), axis=0)  # noqa: E731
    result = interpret(build, {"x": x}, Numerics.DECLARED)
    np.testing.assert_array_equal(result, np.tile(x, 2).astype(np.float32))
