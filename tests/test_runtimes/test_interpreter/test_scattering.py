from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_programs import Array, interpret, mb

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

from .support import agree, counting, run_kernel

quick = settings(max_examples=20, deadline=None)
REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""Modes that torch has too."""
MODES = ["update", *REDUCTIONS, "sub", "div"]


def one_by_one(
    data: Array, places: list[tuple[int, ...]], updates: list[Array], mode: str
) -> Array:
    """By definition: each update in turn."""
    result = data.astype(np.float64)
    for place, update in zip(places, updates, strict=True):
        before = result[place]
        result[place] = {
            "update": lambda a, b: b,
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "div": np.divide,
            "max": np.maximum,
            "min": np.minimum,
        }[mode](before, update)
    return result


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.sampled_from([15, 17]))
def test_scatter_updates_rows(mode, indices, ios):
    data = 1 + counting(3, 2)
    updates = 2 + counting(len(indices), 2)
    inputs = {"data": data, "indices": np.array(indices, np.int32), "updates": updates}
    expected = one_by_one(data, [(i,) for i in indices], list(updates), mode)
    agree(lambda **given_: mb.scatter(axis=0, mode=mode, **given_), inputs, expected, ios, False)
    turned = inputs | {"data": data.T, "updates": updates.T}
    agree(lambda **given_: mb.scatter(axis=-1, mode=mode, **given_), turned, expected.T, ios, False)


@pytest.mark.parametrize("mode", REDUCTIONS)
@settings(max_examples=6, deadline=None)
@given(st.integers(-2, 1), st.data())
def test_scatter_along_axis_as_torch_does(mode, axis, data):
    shape = [3, 4]
    size = list(shape)
    size[axis] = data.draw(st.integers(1, 5))
    places = hnp.arrays(np.int32, tuple(size), elements=st.integers(0, shape[axis] - 1))
    inputs = {
        "data": 1 + counting(*shape),
        "indices": data.draw(places),
        "updates": 2 + counting(*size),
    }
    expected = torch.scatter_reduce(
        torch.from_numpy(inputs["data"]).double(),
        axis,
        torch.from_numpy(inputs["indices"]).long(),
        torch.from_numpy(inputs["updates"]).double(),
        REDUCTIONS[mode],
    ).numpy()
    # coremltools folds every mode as if it were "update".
    build = lambda **given_: mb.scatter_along_axis(axis=axis, mode=mode, **given_)  # noqa: E731
    agree(build, inputs, expected, value_inference=False)


def test_scatter_along_axis_updates_as_coremltools_folds():
    inputs = {
        "data": counting(2, 3),
        "indices": np.array([[2, 0], [1, 2]], np.int32),
        "updates": -1 - counting(2, 2),
    }
    expected = np.array([[-2, 1, -1], [3, -3, -4]], np.float32)
    build = lambda **given_: mb.scatter_along_axis(axis=1, mode="update", **given_)  # noqa: E731
    for ios in (15, 17):
        agree(build, inputs, expected, ios)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [1, 2])
def test_scatter_nd_updates_slices_at_tuples(mode, depth):
    data = 1 + counting(2, 3, 2)
    places = [(1, 2), (0, 0), (1, 2), (1, 0)]
    indices = np.array(places, np.int32)[:, :depth]
    updates = 2 + counting(4, *data.shape[depth:])
    expected = one_by_one(data, [p[:depth] for p in places], list(updates), mode)
    inputs = {"data": data, "indices": indices, "updates": updates}
    for ios in (15, 17):
        agree(lambda **given_: mb.scatter_nd(mode=mode, **given_), inputs, expected, ios, False)


def test_scatter_has_the_example_of_the_reference():
    result = run_kernel(
        "scatter",
        {
            "data": np.array([[1, 2, 3], [4, 5, 6]]),
            "indices": np.array([1, 0]),
            "updates": np.array([[5, 6, 7], [8, 9, 10]]),
            "mode": "add",
        },
    )
    np.testing.assert_array_equal(result, [[9, 11, 13], [9, 11, 13]])


def test_fp16_results_are_rounded_once():
    data = np.array([0.1, 2048.0], np.float16)
    updates = np.array([1.0, 1.0, 0.2, 0.2], np.float16)
    indices = np.array([1, 1, 0, 0], np.int32)
    result = interpret(
        lambda data, updates: mb.scatter(data=data, indices=indices, updates=updates, mode="add"),
        {"data": data, "updates": updates},
        Numerics.DECLARED,
    )
    single = data.astype(np.float32)
    np.add.at(single, indices, updates.astype(np.float32))
    np.testing.assert_array_equal(result, single.astype(np.float16).astype(np.float32))
    assert result[1] == 2050  # in fp16 steps 2048 + 1 stays 2048


def test_inputs_stay_as_they_are():
    data = counting(3)
    run_kernel("scatter", {"data": data, "indices": np.array([0]), "updates": np.array([9.0])})
    np.testing.assert_array_equal(data, counting(3))


def test_what_the_reference_leaves_open_is_refused():
    inputs = {"data": counting(3), "indices": np.array([0]), "updates": np.array([2.0])}
    with pytest.raises(RuntimeFailure, match="has the mode 'xor', which is not known"):
        run_kernel("scatter", inputs | {"mode": "xor"})
    whole = {name: array.astype(np.int32) for name, array in inputs.items()}
    with pytest.raises(RuntimeFailure, match="divides integers"):
        run_kernel("scatter_nd", whole | {"mode": "div", "indices": np.array([[0]])})
    with pytest.raises(RuntimeFailure, match="takes the index -1 of an axis of 3"):
        run_kernel("scatter", inputs | {"indices": np.array([-1])})
    with pytest.raises(RuntimeFailure, match=r"updates of shape \(1,\) for places of shape \(2,\)"):
        run_kernel("scatter", inputs | {"indices": np.array([0, 1])})


def test_missing_parameters_take_documented_defaults():
    inputs = {"data": counting(3), "indices": np.array([2]), "updates": np.array([5.0])}
    np.testing.assert_array_equal(run_kernel("scatter", inputs), [0, 1, 5])
    np.testing.assert_array_equal(run_kernel("scatter_along_axis", inputs), [0, 1, 7])
    np.testing.assert_array_equal(
        run_kernel("scatter_nd", inputs | {"indices": np.array([[2]])}), [0, 1, 7]
    )
