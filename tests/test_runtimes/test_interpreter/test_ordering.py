from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ml_programs import interpret, mb

from care_mobile.errors import RuntimeFailure

from .support import agree, run_kernel

quick = settings(max_examples=20, deadline=None)
distinct = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    elements=st.integers(-100, 100).map(float),
    unique=True,
)


@quick
@given(distinct, st.booleans(), st.data())
def test_argsort_as_torch_does(x, ascending, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    expected = torch.argsort(torch.from_numpy(x), axis, descending=not ascending).numpy()
    agree(lambda x: mb.argsort(x=x, axis=axis, ascending=ascending), {"x": x}, expected)


@quick
@given(distinct, st.booleans(), st.sampled_from([15, 16, 17]), st.data())
def test_topk_as_torch_does(x, ascending, ios, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    k = data.draw(st.integers(1, x.shape[axis]))
    values, indices = torch.topk(torch.from_numpy(x), k, axis, largest=not ascending)
    agree(
        lambda x: mb.topk(x=x, k=k, axis=axis, ascending=ascending),
        {"x": x},
        [values.numpy(), indices.numpy()],
        ios,
    )


@pytest.mark.parametrize("ios", [16, 17])
def test_topk_may_give_values_only(ios):
    x = np.array([3.0, 9.0, 1.0], np.float32)
    expected = np.array([9.0, 3.0], np.float32)
    build = lambda x: mb.topk(x=x, k=2, return_indices=False)  # noqa: E731
    agree(build, {"x": x}, expected, ios)


def test_topk_of_all_and_of_too_many():
    x = np.array([3.0, 9.0, 1.0])
    values, _ = run_kernel("topk", {"x": x, "k": -1})
    np.testing.assert_array_equal(values, [9, 3, 1])
    for k in (4, -2):
        with pytest.raises(RuntimeFailure, match=rf"takes {k} elements of an axis of 3"):
            run_kernel("topk", {"x": x, "k": k})


def test_equal_elements_keep_their_order():
    x = np.array([1.0, 2.0, 1.0, 2.0])
    np.testing.assert_array_equal(run_kernel("argsort", {"x": x}), [1, 3, 0, 2])
    np.testing.assert_array_equal(run_kernel("argsort", {"x": x, "ascending": True}), [0, 2, 1, 3])


def test_unsigned_and_lowest_integers_sort_too():
    for x in (np.array([0, 255, 3], np.uint8), np.array([-1, 127, -128], np.int8)):
        np.testing.assert_array_equal(run_kernel("argsort", {"x": x}), np.argsort(-x.astype(int)))


def test_indices_may_be_declared_as_uint16():
    x = np.arange(5, dtype=np.float32)

    def build(x):
        indices = mb.topk(x=x, k=2, output_indices_dtype="uint16")[1]
        return mb.cast(x=indices, dtype="int32")

    np.testing.assert_array_equal(interpret(build, {"x": x}), [4, 3])


def test_missing_parameters_take_documented_defaults():
    x = np.array([[3.0, 9.0, 1.0]])
    values, indices = run_kernel("topk", {"x": x})
    assert (values.tolist(), indices.tolist()) == ([[9.0]], [[1]])
    np.testing.assert_array_equal(run_kernel("argsort", {"x": x}), [[1, 0, 2]])
