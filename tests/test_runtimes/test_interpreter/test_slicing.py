from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ml_programs import interpret, mb

from care_mobile.errors import RuntimeFailure

from .support import agree, counting, run_kernel

quick = settings(max_examples=25, deadline=None)
lengths = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


@st.composite
def indices(draw, shape):
    """Parameters of slice_by_index that select something, and numpy's index for the same."""
    parameters = {
        name: [] for name in ("begin", "end", "stride", "begin_mask", "end_mask", "squeeze_mask")
    }
    index = []
    for length in shape:
        begin, last = sorted(draw(st.tuples(*[st.integers(0, length - 1)] * 2)))
        stride = draw(st.integers(1, 3))
        kind = draw(st.sampled_from(["slice", "from_start", "to_end", "all", "backwards", "one"]))
        end = last + 1
        if kind == "one":
            index.append(begin)
        elif kind == "backwards":
            begin, end, stride = last, begin, -stride
            index.append(slice(None, None, stride))
        else:
            start = None if kind in ("from_start", "all") else begin
            index.append(slice(start, None if kind in ("to_end", "all") else end, stride))
        negative = draw(st.booleans())
        parameters["begin"].append(begin - length if negative else begin)
        parameters["end"].append(end - length if negative and end < length else end)
        parameters["stride"].append(stride)
        parameters["begin_mask"].append(kind in ("from_start", "all", "backwards"))
        parameters["end_mask"].append(kind in ("to_end", "all", "backwards"))
        parameters["squeeze_mask"].append(kind == "one")
    return parameters, tuple(index)


@settings(max_examples=40, deadline=None)
@given(lengths, st.data())
def test_slice_by_index_is_numpy_indexing(shape, data):
    parameters, index = data.draw(indices(shape))
    x = counting(*shape, dtype=np.int32)
    agree(lambda x: mb.slice_by_index(x=x, **parameters), {"x": x}, np.asarray(x[index]))


def test_a_slice_may_run_backwards_between_two_places():
    x = counting(6)
    agree(lambda x: mb.slice_by_index(x=x, begin=[4], end=[1], stride=[-2]), {"x": x}, x[4:1:-2])
    agree(lambda x: mb.slice_by_index(x=x, begin=[-1], end=[-4], stride=[-1]), {"x": x}, x[:2:-1])


@quick
@given(lengths, st.data())
def test_slice_update_replaces_what_the_slice_selects(shape, data):
    parameters, index = data.draw(indices(shape))
    x = counting(*shape)
    update = -1 - np.arange(x[index].size, dtype=np.float32).reshape(x[index].shape)
    assume(update.ndim > 0)  # Core ML updates no scalars
    expected = x.copy()
    expected[index] = update
    inputs = {"x": x, "update": update}
    agree(lambda x, update: mb.slice_update(x=x, update=update, **parameters), inputs, expected, 18)


def test_slice_update_leaves_its_input_alone_and_refuses_other_shapes():
    x = counting(4)
    run_kernel("slice_update", {"x": x, "update": -x[:2], "begin": [0], "end": [2]}, opset=8)
    np.testing.assert_array_equal(x, counting(4))
    with pytest.raises(RuntimeFailure, match=r"shape \(3,\) in the place of \(2,\)"):
        run_kernel("slice_update", {"x": x, "update": x[:3], "begin": [0], "end": [2]}, opset=8)


def test_slices_need_a_place_per_axis():
    with pytest.raises(RuntimeFailure, match=r"not for the 2 axes"):
        run_kernel("slice_by_index", {"x": counting(2, 2), "begin": [0], "end": [1]})


@quick
@given(lengths, st.data())
def test_slice_by_size(shape, data):
    begins = [data.draw(st.integers(0, length - 1)) for length in shape]
    sizes = [data.draw(st.integers(1, length - b)) for b, length in zip(begins, shape, strict=True)]
    rest = [data.draw(st.booleans()) for _ in shape]
    x = counting(*shape)
    index = tuple(
        slice(b, None if r else b + s) for b, s, r in zip(begins, sizes, rest, strict=True)
    )
    asked = [-1 if r else s for s, r in zip(sizes, rest, strict=True)]
    agree(lambda x: mb.slice_by_size(x=x, begin=begins, size=asked), {"x": x}, x[index])


def test_slice_by_size_counts_begin_from_the_end_and_stays_inside():
    x = counting(5)
    agree(lambda x: mb.slice_by_size(x=x, begin=[-2], size=[2]), {"x": x}, x[3:])
    for begin, size in ((4, 2), (-6, 1), (0, -2)):
        with pytest.raises(RuntimeFailure, match=rf"takes {size} elements from {begin}"):
            run_kernel("slice_by_size", {"x": x, "begin": [begin], "size": [size]})


@quick
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.integers(-2, 1))
def test_split_into_sizes_as_torch_does(sizes, axis):
    shape = [2, 2]
    shape[axis] = sum(sizes)
    x = counting(*shape)
    expected = [part.numpy() for part in torch.split(torch.from_numpy(x), sizes, axis)]
    agree(lambda x: mb.split(x=x, split_sizes=sizes, axis=axis), {"x": x}, expected)


@pytest.mark.parametrize("count", [2, 3])
def test_split_into_equal_parts(count):
    x = counting(2, 6)
    expected = np.split(x, count, 1)
    agree(lambda x: mb.split(x=x, num_splits=count, axis=1), {"x": x}, expected)
    with pytest.raises(RuntimeFailure, match=r"splits an axis of 6 into 4 parts"):
        run_kernel("split", {"x": x, "num_splits": 4, "axis": 1})


def test_parts_of_a_split_need_not_be_used():
    x = counting(2, 3)
    build = lambda x: mb.split(x=x, num_splits=3, axis=1)[1]  # noqa: E731
    np.testing.assert_array_equal(interpret(build, {"x": x}), x[:, 1:2])


@quick
@given(st.integers(1, 4), st.integers(1, 4), st.integers(-1, 3), st.integers(-1, 3))
def test_band_part_keeps_a_band_of_each_matrix(rows, columns, lower, upper):
    x = 1 + counting(2, rows, columns)
    expected = torch.from_numpy(x)
    if upper >= 0:
        expected = expected.tril(upper)
    if lower >= 0:
        expected = expected.triu(-lower)
    agree(lambda x: mb.band_part(x=x, lower=lower, upper=upper), {"x": x}, expected.numpy())


def test_band_part_sets_infinities_outside_the_band_to_zero():
    x = np.full((2, 2), np.inf)
    band = run_kernel("band_part", {"x": x, "lower": 0, "upper": 0})
    np.testing.assert_array_equal(band, [[np.inf, 0], [0, np.inf]])


def test_missing_parameters_take_documented_defaults():
    x = counting(3, 3)
    part = run_kernel("slice_by_index", {"x": x, "begin": [1, -2], "end": [3, 3]})
    np.testing.assert_array_equal(part, x[1:3, 1:3])
    np.testing.assert_array_equal(run_kernel("band_part", {"x": x}), x)
