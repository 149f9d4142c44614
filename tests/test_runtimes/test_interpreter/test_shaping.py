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

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
quick = settings(max_examples=15, deadline=None)


@quick
@given(shapes, st.data())
def test_reshape_keeps_the_order_and_infers_one_size(shape, data):
    x = counting(*shape)
    target = list(data.draw(st.permutations(shape)))
    agree(lambda x: mb.reshape(x=x, shape=target), {"x": x}, x.reshape(target))
    inferred = list(target)
    inferred[data.draw(st.integers(0, len(target) - 1))] = -1
    agree(lambda x: mb.reshape(x=x, shape=inferred), {"x": x}, x.reshape(target))


@pytest.mark.parametrize("ios", [15, 16, 17, 18])
def test_zero_in_a_shape_keeps_that_axis(ios):
    x = counting(2, 3, 4)
    agree(lambda x: mb.reshape(x=x, shape=[0, -1, 2]), {"x": x}, x.reshape(2, 6, 2), ios)


@pytest.mark.parametrize("ios", [17, 18])
@pytest.mark.parametrize(
    ("shape", "expected"), [([1, 0, -1, 0], (1, 1, 2, 50)), ([-1, 0], (2, 50)), ([0], (50,))]
)
def test_zeros_count_from_the_last_axis_since_ios_17(ios, shape, expected):
    x = counting(2, 50) if expected != (50,) else counting(1, 50)
    agree(lambda x: mb.reshape(x=x, shape=shape), {"x": x}, x.reshape(expected), ios)


def test_zeros_need_equal_ranks_before_ios_17():
    with pytest.raises(RuntimeFailure, match=r"before iOS 17 a 0 needs equal ranks"):
        run_kernel("reshape", {"x": counting(2, 50), "shape": [1, 0, -1, 0]}, opset=6)


def test_sizes_below_minus_one_are_refused():
    with pytest.raises(RuntimeFailure, match=r"sizes must be -1 or more"):
        run_kernel("reshape", {"x": counting(2, 3), "shape": [-2, 3]})


def test_reshape_to_a_scalar_and_of_integers():
    assert run_kernel("reshape", {"x": counting(1, 1), "shape": np.zeros(0, np.int32)}).shape == ()
    x = counting(6, dtype=np.int32)
    agree(lambda x: mb.reshape(x=x, shape=[2, 3]), {"x": x}, x.reshape(2, 3))


def test_reshape_like_joins_parts_of_shapes():
    x, first, second = counting(6, 30), counting(2, 3, 4), counting(1, 5, 6)
    inputs = {"x": x, "first": first, "second": second}

    def build(x, first, second):
        return mb.reshape_like(
            x=x, ref_tensors=(first, second), begins=(0, 1), ends=(2, 0), end_masks=(False, True)
        )

    for ios in (16, 17):
        agree(build, inputs, x.reshape(2, 3, 5, 6), ios, value_inference=False)


@quick
@given(shapes, st.data())
def test_transpose_permutes_as_torch_does(shape, data):
    x = counting(*shape)
    permutation = data.draw(st.permutations(range(len(shape))))
    signs = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    given_ = [p - len(shape) if s else p for p, s in zip(permutation, signs, strict=True)]
    expected = torch.from_numpy(x).permute(permutation).numpy()
    agree(lambda x: mb.transpose(x=x, perm=given_), {"x": x}, expected)


@quick
@given(shapes, st.data())
def test_expand_dims_counts_axes_in_the_result(shape, data):
    rank = len(shape) + data.draw(st.integers(1, 5 - len(shape)))
    places = data.draw(st.permutations(range(rank)))[: rank - len(shape)]
    expected = list(shape)
    for place in sorted(places):
        expected.insert(place, 1)
    signed = [p - rank if data.draw(st.booleans()) else p for p in places]
    x = counting(*shape)
    agree(lambda x: mb.expand_dims(x=x, axes=signed), {"x": x}, x.reshape(expected))


def test_squeeze_leaves_axes_that_are_not_single():
    x = counting(1, 2, 1, 3)
    agree(lambda x: mb.squeeze(x=x), {"x": x}, x.reshape(2, 3))
    agree(lambda x: mb.squeeze(x=x, axes=[-2]), {"x": x}, x.reshape(1, 2, 3))
    # numpy, which coremltools folds with, refuses this; its type inference follows the reference.
    agree(
        lambda x: mb.squeeze(x=x, axes=[0, 1]), {"x": x}, x.reshape(2, 1, 3), value_inference=False
    )


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((3,), -1, (1, 3)),
        ((3,), 1, (3, 1)),
        ((4, 3), -1, (4, 3)),
        ((2, 3, 2), -1, (6, 2)),
        ((5, 5, 2), 1, (5, 10)),
        ((5, 5, 2), 0, (1, 50)),
    ],
)
def test_flatten2d_has_the_examples_of_the_reference(shape, axis, expected):
    x = counting(*shape)
    # coremltools takes the product of no sizes for a float, and cannot fold with it.
    whole = bool(shape[:axis] and shape[axis:])
    agree(
        lambda x: mb.flatten2d(x=x, axis=axis), {"x": x}, x.reshape(expected), value_inference=whole
    )


def test_shape_of_a_tensor():
    expected = np.array([4, 1, 3])
    agree(lambda x: mb.shape(x=x), {"x": counting(4, 1, 3)}, expected)


@quick
@given(shapes, st.data())
def test_tile_repeats_as_torch_does(shape, data):
    x = counting(*shape)
    reps = [data.draw(st.integers(1, 3)) for _ in shape]
    agree(lambda x: mb.tile(x=x, reps=reps), {"x": x}, torch.from_numpy(x).repeat(*reps).numpy())


@pytest.mark.parametrize("reps", [[2], [2, 0]])
def test_tile_refuses_other_ranks_and_nothing(reps):
    with pytest.raises(RuntimeFailure, match=r"repeats a tensor of rank 2"):
        run_kernel("tile", {"x": counting(2, 2), "reps": reps})


@quick
@given(shapes, st.data())
def test_reverse_flips_as_torch_does(shape, data):
    x = counting(*shape)
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1).map(sorted))
    expected = torch.from_numpy(x).flip(axes).numpy()
    signed = [a - len(shape) if data.draw(st.booleans()) else a for a in axes]
    agree(lambda x: mb.reverse(x=x, axes=signed), {"x": x}, expected)


@quick
@given(shapes, st.data())
def test_sliding_windows_unfold_as_torch_does(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    size = data.draw(st.integers(1, shape[axis]))
    stride = data.draw(st.integers(1, 3))
    x = counting(*shape)
    expected = torch.from_numpy(x).unfold(axis, size, stride).movedim(-1, axis + 1).numpy()
    signed = axis - len(shape) if data.draw(st.booleans()) else axis
    agree(
        lambda x: mb.sliding_windows(x=x, axis=signed, size=size, stride=stride),
        {"x": x},
        expected,
        value_inference=False,
    )


def test_missing_parameters_take_documented_defaults():
    x = counting(2, 1, 3)
    assert run_kernel("squeeze", {"x": x}).shape == (2, 3)
    assert run_kernel("flatten2d", {"x": x}).shape == (2, 3)
    np.testing.assert_array_equal(run_kernel("reverse", {"x": x}), x[::-1, ::-1, ::-1])
    windows = run_kernel("sliding_windows", {"x": x, "axis": 2, "size": 2})
    np.testing.assert_array_equal(windows[0, 0], [[0, 1], [1, 2]])


def test_fp16_values_pass_unchanged():
    x = np.array([[1.0009765625, 65504.0], [6e-8, -0.1]], np.float16)
    result = interpret(lambda x: mb.transpose(x=x, perm=[1, 0]), {"x": x}, Numerics.DECLARED)
    np.testing.assert_array_equal(result, x.T.astype(np.float32))
