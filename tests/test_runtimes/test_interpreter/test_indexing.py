from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_programs import interpret, mb

from care_mobile.errors import RuntimeFailure

from .support import agree, counting, run_kernel

quick = settings(max_examples=20, deadline=None)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def drawn_indices(draw, shape, size, negative=False):
    elements = st.integers(-size if negative else 0, size - 1)
    return draw(hnp.arrays(np.int32, shape, elements=elements))


@quick
@given(shapes, st.lists(st.integers(1, 3), max_size=2), st.sampled_from([15, 16, 17]), st.data())
def test_gather_takes_slices(shape, inner, ios, data):
    x = counting(*shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    indices = drawn_indices(data.draw, tuple(inner), shape[axis], negative=ios < 17)
    flat = torch.from_numpy(indices.ravel().astype(np.int64)) % shape[axis]
    taken = torch.index_select(torch.from_numpy(x), axis, flat).numpy()
    place = axis % len(shape)
    expected = taken.reshape([*shape[:place], *inner, *shape[place + 1 :]])
    # A scalar is no interface type: it is a constant here.
    agree(lambda x: mb.gather(x=x, indices=indices, axis=axis), {"x": x}, expected, ios)


@quick
@given(st.integers(1, 2), st.integers(0, 1), st.lists(st.integers(1, 3), max_size=2), st.data())
def test_gather_takes_slices_within_a_batch(batch_dims, more, inner, data):
    shape = (2, 3, 2, 3)
    axis = batch_dims + more
    x = counting(*shape)
    indices = drawn_indices(data.draw, (*shape[:batch_dims], *inner), shape[axis])
    # By definition: an ordinary gather for each element of the batch.
    rows = [
        np.take(x[place], indices[place], axis - batch_dims)
        for place in np.ndindex(*shape[:batch_dims])
    ]
    expected = np.stack(rows).reshape(shape[:batch_dims] + rows[0].shape)
    for ios in (16, 17):
        agree(
            lambda x, indices: mb.gather(x=x, indices=indices, axis=axis, batch_dims=batch_dims),
            {"x": x, "indices": indices},
            expected,
            ios,
        )


@quick
@given(shapes, st.data())
def test_gather_along_axis_as_torch_does(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = list(shape)
    size[axis] = data.draw(st.integers(1, 4))
    indices = drawn_indices(data.draw, tuple(size), shape[axis])
    x = counting(*shape)
    expected = torch.gather(torch.from_numpy(x), axis, torch.from_numpy(indices).long()).numpy()
    agree(
        lambda x, indices: mb.gather_along_axis(x=x, indices=indices, axis=axis),
        {"x": x, "indices": indices},
        expected,
    )


@quick
@given(st.integers(0, 2), st.integers(1, 2), st.data())
def test_gather_nd_takes_slices_at_tuples(batch_dims, depth, data):
    shape = (2, 3, 2, 3)
    x = counting(*shape)
    places = (*shape[:batch_dims], 4)
    columns = [drawn_indices(data.draw, places, shape[batch_dims + axis]) for axis in range(depth)]
    indices = np.stack(columns, -1)
    rows = [x[(*place[:batch_dims], *indices[place])] for place in np.ndindex(*places)]
    expected = np.stack(rows).reshape(places + rows[0].shape)
    ios = 15 if batch_dims == 0 else 16
    for version in {ios, 17}:
        options = {"batch_dims": batch_dims} if batch_dims else {}
        agree(
            lambda x, indices, options=options: mb.gather_nd(x=x, indices=indices, **options),
            {"x": x, "indices": indices},
            expected,
            version,
            value_inference=False,
        )


@pytest.mark.parametrize("operator", ["gather", "gather_along_axis", "gather_nd"])
def test_negative_indices_count_from_the_end_up_to_ios_16_only(operator):
    inputs = {
        "x": counting(4),
        "indices": np.array([-1, 3]).reshape((2, 1)[: 1 + ("nd" in operator)]),
    }
    for opset in (5, 6):
        np.testing.assert_array_equal(run_kernel(operator, inputs, opset), [3, 3])
    for opset in (7, 8):
        with pytest.raises(RuntimeFailure, match=r"takes the index -1 of an axis of 4 \(negative"):
            run_kernel(operator, inputs, opset)


def test_indices_behind_the_end_are_refused():
    for indices, opset in (([4], 7), ([4], 5), ([-5], 5)):
        inputs = {"x": counting(4), "indices": np.array(indices)}
        with pytest.raises(RuntimeFailure, match=rf"takes the index {indices[0]} of an axis of 4$"):
            run_kernel("gather", inputs, opset)


def test_a_batch_needs_matching_indices():
    inputs = {"x": counting(2, 3), "indices": counting(3, 1, dtype=np.int32), "axis": 1}
    with pytest.raises(RuntimeFailure, match=r"indices of shape \(3, 1\) for the batch \(2,\)"):
        run_kernel("gather", inputs | {"batch_dims": 1})
    with pytest.raises(RuntimeFailure, match="batch_dims 2 for axis 1"):
        run_kernel("gather", inputs | {"batch_dims": 2})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_narrow_indices_reach_far(dtype):
    x = counting(200)
    indices = np.array([0, 127], dtype)
    result = run_kernel("gather", {"x": x, "indices": indices})
    np.testing.assert_array_equal(result, [0, 127])


@quick
@given(hnp.arrays(np.int32, (3, 4), elements=st.integers(-1, 1)))
def test_non_zero_lists_places(x):
    places = np.argwhere(x)
    np.testing.assert_array_equal(run_kernel("non_zero", {"x": x}), places)
    if places.size:  # no tensor of Core ML is empty
        np.testing.assert_array_equal(interpret(lambda x: mb.non_zero(x=x), {"x": x}), places)


def test_missing_parameters_take_documented_defaults():
    x, indices = counting(2, 3), np.array([1])
    np.testing.assert_array_equal(run_kernel("gather", {"x": x, "indices": indices}), x[1:])
    along = run_kernel("gather_along_axis", {"x": x, "indices": np.array([[1, 0, 1]])})
    np.testing.assert_array_equal(along, [[3, 1, 5]])
    np.testing.assert_array_equal(run_kernel("gather_nd", {"x": x, "indices": indices}), x[1])
