"""crop_resize, resample and affine against PyTorch, and against numpy where it has no equal."""

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

SIZES = st.integers(1, 5)
PADDINGS = {"constant": "zeros", "border": "border", "reflection": "reflection"}
FIELD = {
    "sampling_mode": "bilinear", "padding_mode": "border", "padding_value": np.float32(0),
    "coordinates_mode": "normalized_minus_one_to_one", "align_corners": True,
}  # fmt: skip


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def double(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float64))


@settings(max_examples=40, deadline=None)
@given(
    SIZES, SIZES, st.sampled_from(sorted(PADDINGS)), st.sampled_from(["bilinear", "nearest"]),
    st.booleans(),
)  # fmt: skip
def test_resample_is_grid_sample(
    height: int, width: int, padding: str, sampling: str, align_corners: bool
) -> None:
    """PyTorch calls the edge that its reflection turns at by align_corners; Core ML by the mode."""
    x, coordinates = noise(0, 2, 3, height, width), 1.5 * noise(1, 2, 4, 3, 2)
    name = padding
    if padding == "reflection" and not align_corners:
        name = "symmetric"
    expected = F.grid_sample(
        double(x), double(coordinates), sampling, PADDINGS[padding], align_corners
    ).numpy()
    options = FIELD | {
        "sampling_mode": sampling, "padding_mode": name, "align_corners": align_corners
    }  # fmt: skip
    agree(
        lambda x, coordinates: mb.resample(x=x, coordinates=coordinates, **options),
        {"x": x, "coordinates": coordinates}, expected, evaluated=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "align_corners", "expected"),
    [
        ("unnormalized", True, [0, 1, 2]),
        ("unnormalized", False, [0, 1, 2]),
        ("normalized_zero_to_one", True, [0, 3, 6]),
        ("normalized_zero_to_one", False, [-0.5, 3.5, 7.5]),
        ("normalized_minus_one_to_one", True, [1.5, 3, 4.5]),
        ("normalized_minus_one_to_one", False, [1.5, 3.5, 5.5]),
    ],
)
def test_coordinates_mode(mode: str, align_corners: bool, expected: list[float]) -> None:
    """Each pixel of the image holds its index, so results are the places they were taken at."""
    x = np.arange(4, dtype=np.float64).reshape(1, 1, 1, 4)
    coordinates = np.zeros((1, 1, 3, 2))
    coordinates[..., 0] = [0, 1, 2]
    options = {"coordinates_mode": mode, "align_corners": align_corners}
    values = {n: np.asarray(v) for n, v in (FIELD | options).items()}
    result = call("resample", x=x, coordinates=coordinates, **values)
    np.testing.assert_allclose(result.ravel(), np.clip(expected, 0, 3))


def test_padding_written_out() -> None:
    x = np.array([[[[1.0, 2, 3]]]])
    coordinates = np.zeros((1, 1, 9, 2))
    coordinates[..., 0] = np.arange(-3, 6)
    expected = {
        "constant": [9, 9, 9, 1, 2, 3, 9, 9, 9],
        "border": [1, 1, 1, 1, 2, 3, 3, 3, 3],
        "reflection": [2, 3, 2, 1, 2, 3, 2, 1, 2],
        "symmetric": [3, 2, 1, 1, 2, 3, 3, 2, 1],
    }
    for padding, values in expected.items():
        options = FIELD | {
            "padding_mode": padding, "coordinates_mode": "unnormalized", "padding_value": 9.0
        }  # fmt: skip
        for sampling in ("bilinear", "nearest"):
            given_values = {n: np.asarray(v) for n, v in options.items()}
            given_values["sampling_mode"] = np.asarray(sampling)
            result = call("resample", x=x, coordinates=coordinates, **given_values)
            assert result.ravel().tolist() == values, padding


def test_outside_pixels_take_part_in_the_interpolation() -> None:
    x, coordinates = np.full((1, 1, 1, 2), 11.0), np.array([[[[-0.5, 0.0]]]])
    options = FIELD | {
        "padding_mode": "constant", "padding_value": 6.0, "coordinates_mode": "unnormalized"
    }  # fmt: skip
    values = {n: np.asarray(v) for n, v in options.items()}
    assert call("resample", x=x, coordinates=coordinates, **values).item() == 8.5


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.booleans())
def test_affine_is_affine_grid(h: int, w: int, height: int, width: int, shared: bool) -> None:
    x, matrix = noise(0, 2, 3, h, w), noise(1, 1 if shared else 2, 6)
    theta = double(matrix).reshape(-1, 2, 3).expand(2, 2, 3)
    grid = F.affine_grid(theta, [2, 3, height, width], align_corners=True)
    expected = F.grid_sample(double(x), grid, align_corners=True).numpy()
    agree(
        lambda x, matrix: mb.affine(
            x=x, transform_matrix=matrix, output_height=height, output_width=width,
            **FIELD | {"padding_mode": "constant"},
        ),
        {"x": x, "matrix": matrix}, expected, evaluated=False,
    )  # fmt: skip


def interpolated(image: Array, rows: Any, columns: Any, outside: float) -> Array:
    """One channel at rows x columns, `outside` where a point is not on the image."""
    height, width = image.shape
    along = np.stack([np.interp(columns, range(width), line) for line in image])
    patch = np.stack([np.interp(rows, range(height), line) for line in along.T], axis=-1)
    patch[[not 0 <= row <= height - 1 for row in rows]] = outside
    patch[:, [not 0 <= column <= width - 1 for column in columns]] = outside
    return patch


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 5), st.integers(2, 4), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([15, 16, 17]),
)  # fmt: skip
def test_crop_resize_interpolates_between_corners(
    height: int, width: int, normalized: bool, width_first: bool, centred: bool, ios: int
) -> None:
    x = noise(0, 2, 3, 5, 6)
    corners = np.random.default_rng(1).uniform(-0.2, 1.2, (4, 2, 2))  # box, start or end, axis
    pixels = corners * (4, 5)
    scale = 1.0 if normalized else 2.0
    stored = corners if normalized else pixels / scale
    if centred:
        stored = np.stack([stored.mean(1), stored[:, 1] - stored[:, 0]], 1)
    boxes = (stored[..., ::-1] if width_first else stored).reshape(4, 4).astype(np.float32)
    kind = f"{'CENTER_SIZE' if centred else 'CORNERS'}_{'WIDTH' if width_first else 'HEIGHT'}_FIRST"
    images = np.array([1, 0, 1, 1])
    pad_value = 0.0 if ios == 15 else 7.0
    expected = np.stack([
        [
            interpolated(
                channel.astype(np.float64), np.linspace(top, bottom, height),
                np.linspace(left, right, width), pad_value,
            )
            for channel in x[image]
        ]
        for image, ((top, left), (bottom, right)) in zip(images, pixels, strict=True)
    ])  # fmt: skip
    parameters: dict[str, Any] = {
        "target_height": height, "target_width": width, "normalized_coordinates": normalized,
        "spatial_scale": np.float32(scale), "box_coordinate_mode": kind,
        "sampling_mode": "STRICT_ALIGN_CORNERS",
    }  # fmt: skip
    if ios > 15:
        parameters["pad_value"] = np.float32(pad_value)
    if ios == 17:
        parameters |= {"boxes": boxes, "box_indices": images.astype(np.int32)}
        result = interpret(lambda x: mb.crop_resize(x=x, **parameters), {"x": x})
    else:
        # Not as a program: coremltools declares a patch of every image here, which its reference
        # has only for boxes that name none.
        roi = np.concatenate([images[:, None], boxes], axis=1).reshape(4, 1, 5, 1, 1)
        values = {name: np.asarray(value) for name, value in parameters.items()}
        result = call("crop_resize", ios - 10, x=x.astype(np.float64), roi=roi, **values)
        expected = expected[:, None]
    # Boxes are float32, so a point is about 1e-6 away from where it was meant to be.
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("STRICT_ALIGN_CORNERS", [1, 2, 3]),
        ("ALIGN_CORNERS", [1, 2, 3]),
        ("DEFAULT", [1, 2, 3]),
        ("OFFSET_CORNERS", [4 / 3, 2, 8 / 3]),
        ("UNALIGN_CORNERS", [1, 2, 3]),
    ],
)
def test_crop_resize_samples_the_box_as_resize_samples_an_image(
    mode: str, expected: list[float]
) -> None:
    """Pixels 1 to 3 are a box of three pixels; read backwards it gives the same, backwards."""
    x = np.arange(6, dtype=np.float64).reshape(1, 1, 1, 6)
    for start, end, wanted in ((1.0, 3.0, expected), (3.0, 1.0, expected[::-1])):
        result = call(
            "crop_resize", x=x, boxes=np.array([[0, start, 0, end]]),
            target_width=np.array(3), sampling_mode=np.asarray(mode),
        )  # fmt: skip
        assert result.shape == (1, 1, 1, 3)
        np.testing.assert_allclose(result.ravel(), wanted)


def test_crop_resize_of_one_point_takes_the_middle_if_aligned() -> None:
    x = np.arange(6, dtype=np.float64).reshape(1, 1, 1, 6)
    values = {"x": x, "boxes": np.array([[0, 1.0, 0, 3.0]])}
    assert call("crop_resize", **values, sampling_mode=np.asarray("ALIGN_CORNERS")).item() == 2
    assert call("crop_resize", **values).item() == 1


def test_boxes_without_an_index() -> None:
    """iOS 17: box i belongs to image i. Before: every box is cut out of every image."""
    x = noise(0, 2, 1, 3, 3).astype(np.float64)
    boxes = np.array([[0.0, 0, 2, 2], [1.0, 1, 2, 2]])
    newer = call("crop_resize", x=x, boxes=boxes)
    assert newer.ravel().tolist() == [x[0, 0, 0, 0], x[1, 0, 1, 1]]
    older = call("crop_resize", x=x, roi=boxes.reshape(2, 1, 4, 1, 1), opset=6)
    assert older.shape == (2, 2, 1, 1, 1)
    assert older.ravel().tolist() == [x[0, 0, 0, 0], x[1, 0, 0, 0], x[0, 0, 1, 1], x[1, 0, 1, 1]]


def test_declared_rounds_at_the_end() -> None:
    x = noise(0, 1, 2, 4, 4).astype(np.float16)
    coordinates = noise(1, 1, 3, 3, 2).astype(np.float16)
    expected = F.grid_sample(
        double(x), double(coordinates), padding_mode="border", align_corners=True
    )
    options = FIELD | {"padding_value": np.float16(0)}
    rounds_once(
        lambda x, coordinates: mb.resample(x=x, coordinates=coordinates, **options),
        {"x": x, "coordinates": coordinates}, expected.numpy(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "parameters", "message"),
    [
        ("resample", {"sampling_mode": "cubic"}, "sampling_mode 'cubic', which is not known"),
        ("resample", {"padding_mode": "wrap"}, "padding_mode 'wrap', which is not known"),
        ("resample", {"coordinates_mode": "polar"}, "coordinates_mode 'polar', which is not"),
        ("resample", {"coordinates": np.zeros((2, 1, 1, 2))}, "coordinates (2, 1, 1, 2)"),
        ("affine", {"transform_matrix": np.zeros((2, 6))}, "matrices (2, 6)"),
        ("affine", {"align_corners": False}, "does not align corners"),
        ("affine", {"padding_value": 1.0}, "another value than 0"),
        ("affine", {"sampling_mode": "nearest"}, "another sampling_mode than 'bilinear'"),
        ("affine", {"padding_mode": "border"}, "another padding_mode than 'constant'"),
        ("affine", {"coordinates_mode": "unnormalized"}, "another coordinates_mode"),
        ("affine", {"output_width": 0}, "output 1 x 0"),
        ("crop_resize", {"box_coordinate_mode": "POLAR"}, "box_coordinate_mode 'POLAR'"),
        ("crop_resize", {"sampling_mode": "AREA"}, "sampling_mode 'AREA'"),
        ("crop_resize", {"box_indices": [1]}, "out of the images [1], of 1"),
        ("crop_resize", {"box_indices": [0, 0]}, "box_indices (2,)"),
        ("crop_resize", {"target_width": 0}, "resizes patches to (1, 0)"),
        ("crop_resize", {"x": np.ones((1, 4, 4))}, "not a batch of images"),
    ],
)
def test_refuses(operator: str, parameters: dict[str, Any], message: str) -> None:
    required: dict[str, Any] = {
        "resample": FIELD | {"coordinates": np.zeros((1, 1, 1, 2))},
        "affine": FIELD | {
            "padding_mode": "constant", "transform_matrix": np.zeros((1, 6)), "output_height": 1,
            "output_width": 1,
        },
        "crop_resize": {"boxes": np.zeros((1, 4))},
    }  # fmt: skip
    values = {"x": np.ones((1, 1, 4, 4))} | required[operator] | parameters
    with pytest.raises(RuntimeFailure) as error:
        call(operator, **{name: np.asarray(value) for name, value in values.items()})
    assert message in str(error.value)
