"""Resizing against PyTorch in float64, and against what the reference writes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, interpret, mb
from torch.nn import functional as F

from care_mobile.errors import RuntimeFailure

MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]
SIZES = st.integers(1, 7)


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference_points(mode: str, size: int, count: int) -> list[float]:
    """The grids as the reference writes them, for more than one point."""
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        start, spacing = 0.0, (size - 1) / (count - 1)
    elif mode == "DEFAULT":
        start, spacing = 0.0, (size - size / count) / (count - 1)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / count
        start, spacing = 0.5 * delta, ((count - 1) * delta) / (count - 1)
    else:
        spacing = size / count
        start = 0.5 * spacing - 0.5
    return [min(size - 1, max(0, start + i * spacing)) for i in range(count)]


def resize_bilinear(height: int, width: int, mode: str) -> Any:
    return lambda x: mb.resize_bilinear(
        x=x, target_size_height=height, target_size_width=width, sampling_mode=mode
    )


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.integers(2, 9), st.integers(2, 9), st.sampled_from(MODES))
def test_resize_bilinear_samples_the_grid(
    h: int, w: int, height: int, width: int, mode: str
) -> None:
    """Linear interpolation of numpy, first along the width and then along the height."""
    x = noise(0, 2, 1, h, w)
    points = [reference_points(mode, *pair) for pair in ((h, height), (w, width))]
    rows = np.apply_along_axis(lambda v: np.interp(points[1], range(w), v), -1, x.astype(float))
    expected = np.apply_along_axis(lambda v: np.interp(points[0], range(h), v), -2, rows)
    agree(resize_bilinear(height, width, mode), {"x": x}, expected, evaluated=False)


@pytest.mark.parametrize(
    ("mode", "count", "expected"),
    [
        ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
        ("STRICT_ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("UNALIGN_CORNERS", 6, [0, 0, 1 / 3, 2 / 3, 1, 1]),
        ("DEFAULT", 6, [0, 1 / 3, 2 / 3, 1, 1, 1]),
        ("OFFSET_CORNERS", 6, [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
        ("STRICT_ALIGN_CORNERS", 1, [0]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("DEFAULT", 1, [0]),
        ("OFFSET_CORNERS", 1, [0.5]),
        ("UNALIGN_CORNERS", 1, [0.5]),
    ],
)
def test_grids_of_the_reference(mode: str, count: int, expected: list[float]) -> None:
    x = np.array([[[0, 1]]], np.float32)
    result = interpret(resize_bilinear(1, count, mode), {"x": x})
    np.testing.assert_allclose(result.ravel(), expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_upsample_bilinear_is_that_of_pytorch(
    h: int, w: int, by_h: int, by_w: int, align_corners: bool
) -> None:
    x = noise(0, 1, 2, h, w)
    expected = F.interpolate(
        torch.from_numpy(x.astype(np.float64)), size=(h * by_h, w * by_w), mode="bilinear",
        align_corners=align_corners,
    )  # fmt: skip
    agree(
        lambda x: mb.upsample_bilinear(
            x=x, scale_factor_height=by_h, scale_factor_width=by_w, align_corners=align_corners
        ),
        {"x": x}, expected.numpy(), evaluated=False,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, st.sampled_from([0.7, 1.12, 2.2, 2.6, 4.5]), st.booleans())
def test_upsampling_by_fractions_recomputes_the_scale(
    h: int, w: int, scale: float, align_corners: bool
) -> None:
    """The size is rounded down, and what the size then means is the scale."""
    x = noise(0, 1, 2, h + 2, w + 2)
    sizes = [int(np.floor(np.float32(scale) * np.float32(size))) for size in x.shape[2:]]
    tensor = torch.from_numpy(x.astype(np.float64))
    expected = F.interpolate(tensor, size=sizes, mode="bilinear", align_corners=align_corners)
    factors = {f"scale_factor_{name}": np.float32(scale) for name in ("height", "width")}
    agree(
        lambda x: mb.upsample_bilinear(x=x, align_corners=align_corners, **factors),
        {"x": x}, expected.numpy(), evaluated=False,
    )  # fmt: skip
    rows, columns = (
        [i * size // count for i in range(count)]
        for size, count in zip(x.shape[2:], sizes, strict=True)
    )
    agree(
        lambda x: mb.upsample_nearest_neighbor(x=x, **factors),
        {"x": x}, x[:, :, rows][..., columns], evaluated=False,
    )  # fmt: skip


def test_sizes_are_computed_in_float32() -> None:
    """float32(0.7) is a little less than 0.7, but 10 times that rounds to 7 again."""
    x = np.arange(10, dtype=np.float32).reshape(1, 1, 10)
    result = interpret(
        lambda x: mb.upsample_nearest_neighbor(
            x=x, scale_factor_height=np.float32(1), scale_factor_width=np.float32(0.7)
        ),
        {"x": x},
    )
    assert result.ravel().tolist() == [0, 1, 2, 4, 5, 7, 8]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"align_corners": True}, [1, 1.2, 1.4, 1.6, 1.8, 2]),
        ({"align_corners": True, "half_pixel_centers": False}, [1, 1.2, 1.4, 1.6, 1.8, 2]),
        ({"align_corners": False}, [1, 1, 4 / 3, 5 / 3, 2, 2]),
        ({"align_corners": False, "half_pixel_centers": True}, [1, 1, 4 / 3, 5 / 3, 2, 2]),
        ({"align_corners": False, "half_pixel_centers": False}, [1, 4 / 3, 5 / 3, 2, 2, 2]),
    ],
)
def test_half_pixel_centers(parameters: dict[str, bool], expected: list[float]) -> None:
    x = np.array([[[[1, 2]]]], np.float32)
    result = interpret(
        lambda x: mb.upsample_bilinear(
            x=x, scale_factor_height=2, scale_factor_width=3, **parameters
        ),
        {"x": x},
        ios=16,
    )
    np.testing.assert_allclose(result[0, 0], [expected] * 2, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, st.integers(1, 4), st.integers(1, 4))
def test_nearest_by_integers_repeats(h: int, w: int, by_h: int, by_w: int) -> None:
    """All three operators agree with PyTorch here; where they differ is tested below."""
    x = noise(0, 1, 2, h, w)
    expected = x.repeat(by_h, -2).repeat(by_w, -1)
    torch_result = F.interpolate(torch.from_numpy(x), scale_factor=(by_h, by_w), mode="nearest")
    assert np.array_equal(torch_result.numpy(), expected)
    height, width = h * by_h, w * by_w
    builds = [
        lambda x: mb.upsample_nearest_neighbor(
            x=x, scale_factor_height=by_h, scale_factor_width=by_w
        ),
        lambda x: mb.resize_nearest_neighbor(
            x=x, target_size_height=height, target_size_width=width
        ),
        lambda x: mb.resize(
            x=x, shape=[height, width], resized_dims=np.uint32(2),
            interpolation_mode="NEAREST_NEIGHBOR",
        ),
    ]  # fmt: skip
    for build in builds:
        agree(build, {"x": x}, expected, evaluated=False)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20))
def test_resize_nearest_has_half_pixel_centres(size: int, count: int) -> None:
    x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
    expected = F.interpolate(torch.from_numpy(x), size=count, mode="nearest-exact").numpy()
    # PyTorch computes where it samples in float32, and so misses what lies on the border.
    on_border = [(2 * i + 1) * size % (2 * count) == 0 for i in range(count)]
    result = interpret(
        lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=1, target_size_width=count),
        {"x": x},
    )
    assert np.array_equal(result[..., ~np.array(on_border)], expected[..., ~np.array(on_border)])
    for i in np.flatnonzero(on_border):
        assert result[0, 0, i] == (2 * i + 1) * size // (2 * count)


def test_nearest_of_other_grids() -> None:
    x = np.arange(4, dtype=np.float32).reshape(1, 4)

    def nearest(mode: str) -> list[float]:
        result = interpret(
            lambda x: mb.resize(
                x=x, shape=[7], resized_dims=np.uint32(1), sampling_mode=mode,
                interpolation_mode="NEAREST_NEIGHBOR",
            ),
            {"x": x},
        )  # fmt: skip
        return result.ravel().tolist()

    assert nearest("STRICT_ALIGN_CORNERS") == [0, 1, 1, 2, 2, 3, 3]
    assert nearest("UNALIGN_CORNERS") == nearest("DEFAULT") == [0, 0, 1, 2, 2, 3, 3]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.sampled_from(MODES), st.data())
def test_resize_takes_the_last_sizes(count: int, mode: str, data: st.DataObject) -> None:
    x = noise(0, 2, 3, 4)
    shape = data.draw(st.lists(st.integers(0, 6), min_size=max(1, count), max_size=3))
    expected = x.astype(np.float64)
    for axis, target in zip(range(3 - count, 3), shape[len(shape) - count :], strict=True):
        size = expected.shape[axis]
        points = interpret(
            resize_bilinear(1, target or size, mode),
            {"x": np.arange(size, dtype=np.float32).reshape(1, 1, size)},
        ).ravel()
        expected = np.apply_along_axis(
            lambda v, at=points: np.interp(at, range(len(v)), v), axis, expected
        )
    result = interpret(
        lambda x, shape: mb.resize(
            x=x, shape=shape, resized_dims=np.uint32(count), sampling_mode=mode
        ),
        {"x": x, "shape": np.array(shape, np.int32)},
    )
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_resize_of_integers_takes_the_nearest() -> None:
    x = np.array([[[5, -7]]], np.int32)
    result = interpret(
        lambda x: mb.resize(
            x=x, shape=[4], resized_dims=np.uint32(1), interpolation_mode="NEAREST_NEIGHBOR"
        ),
        {"x": x},
    )
    assert result.dtype == np.int32
    assert result.tolist() == [[[5, 5, -7, -7]]]


def test_defaults() -> None:
    x = noise(0, 1, 2, 3, 4)
    two = {"scale_factor_width": np.array(2)}
    assert np.array_equal(call("resize_bilinear", x=x), x[..., :1, :1])
    assert np.array_equal(call("upsample_nearest_neighbor", x=x), x)
    assert call("upsample_bilinear", x=x, **two).shape == (1, 2, 3, 8)
    assert call("upsample_bilinear", x=x, **two)[0, 0, 0, -2] != x[0, 0, 0, -1]  # aligned corners
    assert call("upsample_bilinear", x=x, **two).dtype == np.float32
    linear = call("resize", x=x, shape=np.array([8]), resized_dims=np.array(1))
    np.testing.assert_allclose(linear[..., 1], x[..., :2].mean(-1), rtol=1e-6, atol=1e-7)


def test_declared_rounds_at_the_end() -> None:
    x = noise(0, 1, 2, 4, 5).astype(np.float16)
    expected = F.interpolate(
        torch.from_numpy(x.astype(np.float64)), size=(9, 7), mode="bilinear", align_corners=False
    ).numpy()
    rounds_once(resize_bilinear(9, 7, "UNALIGN_CORNERS"), {"x": x}, expected)


@pytest.mark.parametrize(
    ("operator", "parameters", "message"),
    [
        ("resize_bilinear", {"sampling_mode": "CUBIC"}, "sampling_mode 'CUBIC', which is not"),
        ("resize_bilinear", {"target_size_height": 0}, "to the sizes (0, 1)"),
        ("resize_nearest_neighbor", {"target_size_height": 2}, "'target_size_width'"),
        ("upsample_bilinear", {"half_pixel_centers": True}, "both align_corners and half_pixel"),
        ("upsample_bilinear", {"scale_factor_width": 0.1}, "to the sizes (3, 0)"),
        ("upsample_nearest_neighbor", {"scale_factor_width": -1.0}, "to the sizes (3, -4)"),
        ("resize", {"shape": [2], "resized_dims": 2}, "resizes 2 axes"),
        ("resize", {"shape": [2], "resized_dims": 1, "interpolation_mode": "AREA"}, "'AREA'"),
        (
            "resize",
            {"shape": [2], "resized_dims": 1, "x": np.ones((1, 4), np.int32)},
            "interpolates integers",
        ),
    ],
)
def test_refuses(operator: str, parameters: dict[str, Any], message: str) -> None:
    values = {"x": np.ones((1, 3, 4))} | {n: np.asarray(v) for n, v in parameters.items()}
    with pytest.raises(RuntimeFailure) as error:
        call(operator, **values)
    assert message in str(error.value)
