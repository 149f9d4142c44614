from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydantic import ValidationError

from care_mobile import inputs
from care_mobile.errors import MissingDependencyError, UsageError
from care_mobile.inputs import (
    CROP_FRACTION,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_SIDE,
    InputRange,
    Preprocessing,
    Resolution,
    probe_sets,
    sample_photos,
)

SIDES = st.integers(1, MAX_SIDE)


def preprocessing(
    width: int = 224,
    height: int = 224,
    input_range: InputRange = InputRange.NORMALIZED,
    **more: Any,
) -> Preprocessing:
    resolution = Resolution(width=width, height=height)
    return Preprocessing(resolution=resolution, input_range=input_range, **more)


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth enough that a pixel's shift matters little, rough enough that a wrong crop shows."""
    return sample_photos()[0].resize((width, height)).convert(mode)


# Resolutions.


@given(
    width=SIDES, height=SIDES, cross=st.sampled_from("xX"), space=st.sampled_from(["", " ", "\n"])
)
def test_resolutions_parse(width: int, height: int, cross: str, space: str) -> None:
    want = Resolution(width=width, height=height)
    assert Resolution.parse(f"{space}{width}{cross}{height}{space}") == want
    assert Resolution.parse(str(want)) == want
    assert Resolution.parse(str(width)) == Resolution(width=width, height=width)


@given(text=st.text(max_size=12))
def test_any_text_is_a_resolution_or_a_usage_error(text: str) -> None:
    try:
        found = Resolution.parse(text)
    except UsageError as error:
        assert error.hint  # noqa: PT017 - either end is fine
    else:
        assert min(found.width, found.height) >= 1
        assert max(found.width, found.height) <= MAX_SIDE


@pytest.mark.parametrize("text", ["", "x", "224x", "x224", "224x224x3", "2.5", "22 4", "1e3", "a"])
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        Resolution.parse(text)
    assert "WIDTHxHEIGHT" in caught.value.hint


@pytest.mark.parametrize("text", ["0", "-224", "4097", "224x0", "224x-1", "999999999"])
def test_sizes_out_of_range(text: str) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Resolution.parse(text)


def test_a_resolution_out_of_range_cannot_be() -> None:
    with pytest.raises(ValidationError):
        Resolution(width=MAX_SIDE + 1, height=1)


# Preprocessing.


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (0.5,)},
        {"mean": (), "std": ()},
        {"std": (0.2, 0.0, 0.2)},
        {"std": (0.2, -0.1, 0.2)},
        {"std": (0.2, float("nan"), 0.2)},
        {"mean": (float("inf"), 0.0, 0.0)},
        {"extra": 1},
    ],
)
def test_inconsistent_preprocessing_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        preprocessing(**fields)


def test_defaults_are_the_authors() -> None:
    found = preprocessing()
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert (found.interpolation, found.color) == ("bicubic", "RGB")
    assert found.crop_fraction == CROP_FRACTION == 0.875


def reference(image: Image.Image, side: int) -> torch.Tensor:
    """Shorter side to side / 0.875, centre crop, normalise: torchvision's steps, square crops.

    The longer side is cut off to whole pixels, an odd margin rounded half to even.
    """
    short, shorter = side * 256 // 224, min(image.size)
    size = tuple(short if s == shorter else int(short * s / shorter) for s in image.size)
    resized = image.resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).double() / 255
    top, left = round((size[1] - side) / 2), round((size[0] - side) / 2)
    crop = pixels[:, top : top + side, left : left + side]
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    return (crop - mean[:, None, None]) / std[:, None, None]


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (300, 300), (256, 256), (90, 61)])
@pytest.mark.parametrize("side", [224, 112])
def test_preprocessing_is_the_reference(size: tuple[int, int], side: int) -> None:
    image = photo(*size)
    got = preprocessing(side, side).from_image(image)
    assert got.shape == (1, 3, side, side)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[0], reference(image, side).numpy(), atol=1e-5)


def test_a_crop_at_full_size_is_the_image() -> None:
    image = photo(64, 48)
    got = preprocessing(64, 48, InputRange.BYTE, crop_fraction=1.0).from_image(image)
    assert np.array_equal(got[0].transpose(1, 2, 0), np.asarray(image))


def test_the_centre_is_kept() -> None:
    image = Image.new("RGB", (512, 256))
    image.paste((255, 0, 0), (144, 16, 368, 240))
    got = preprocessing(224, 224, InputRange.BYTE).from_image(image)
    assert (got[0, 0] == 255).all()
    assert (got[0, 1:] == 0).all()


@pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64), (33, 47)])
def test_crops_need_not_be_square(width: int, height: int) -> None:
    # A wide image for a tall crop and the other way round: no side may fall short.
    for image in (photo(200, 50), photo(50, 200)):
        got = preprocessing(width, height).from_image(image)
        assert got.shape == (1, 3, height, width)
        assert np.isfinite(got).all()


@pytest.mark.parametrize("size", [(64, 96), (1, 1), (7, 300)])
def test_input_ranges_agree(size: tuple[int, int]) -> None:
    image = photo(*size)
    forms = {r: preprocessing(64, 32, r) for r in InputRange}
    wanted = forms[InputRange.NORMALIZED].from_image(image)
    for input_range, form in forms.items():
        u = form.from_image(image)
        np.testing.assert_allclose(form.normalize(u), wanted, atol=2e-6, err_msg=input_range)
    assert forms[InputRange.BYTE].from_image(image).max() > 1
    unit = forms[InputRange.UNIT].from_image(image)
    assert unit.min() >= 0
    assert unit.max() <= 1


@pytest.mark.parametrize("input_range", InputRange)
def test_affine_is_the_normalisation(input_range: InputRange) -> None:
    scale, shift = preprocessing(input_range=input_range).affine()
    full = {InputRange.BYTE: 255.0, InputRange.UNIT: 1.0}.get(input_range)
    if full is None:
        assert (scale, shift) == ((1.0,) * 3, (0.0,) * 3)
    else:
        pixel = np.asarray((0.25, 0.5, 1.0))
        want = (pixel - IMAGENET_MEAN) / IMAGENET_STD
        np.testing.assert_allclose(np.asarray(scale) * (pixel * full) + shift, want)


@given(
    x=arrays(np.float64, (2, 3, 2, 3), elements=st.floats(-100, 100)),
    input_range=st.sampled_from(InputRange),
)
def test_denormalize_inverts_normalize(x: Any, input_range: InputRange) -> None:
    form = preprocessing(3, 2, input_range)
    u = form.denormalize(x)
    assert u.dtype == np.float32
    # float32 holds u; in x that error is scaled by 1 / std.
    np.testing.assert_allclose(form.normalize(u), x, atol=1e-4, rtol=1e-5)
    np.testing.assert_array_equal(form.denormalize(form.normalize(u)), u)


def test_one_channel() -> None:
    form = preprocessing(32, 24, InputRange.BYTE, mean=(0.5,), std=(0.25,), crop_fraction=1.0)
    image = photo(32, 24)
    got = form.from_image(image)
    assert got.shape == (1, 1, 24, 32)
    assert np.array_equal(got[0, 0], np.asarray(image.convert("L")))
    normal = form.model_copy(update={"input_range": InputRange.NORMALIZED}).from_image(image)
    np.testing.assert_allclose(normal, (got / 255 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_other_channel_counts_repeat_the_planes(channels: int) -> None:
    form = preprocessing(32, 32, InputRange.BYTE, mean=(0.5,) * channels, std=(0.5,) * channels)
    got = form.from_image(photo(32, 32))[0]
    rgb = preprocessing(32, 32, InputRange.BYTE).from_image(photo(32, 32))[0]
    for channel in range(channels):
        assert np.array_equal(got[channel], rgb[channel % 3])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_images_of_any_mode(mode: str) -> None:
    assert preprocessing(32, 32).from_image(photo(40, 40, mode)).shape == (1, 3, 32, 32)


# Probe inputs.


def test_probe_sets() -> None:
    form = preprocessing(48, 32)
    probes = probe_sets(form)
    shapes = {name: array.shape for name, array in probes.items()}
    assert shapes == {
        "seeded": (4, 3, 32, 48),
        "photos": (2, 3, 32, 48),
        "zeros": (1, 3, 32, 48),
        "constant": (2, 3, 32, 48),
        "large-range": (2, 3, 32, 48),
    }
    assert all(array.dtype == np.float32 for array in probes.values())
    assert (probes["zeros"] == 0).all()
    assert abs(probes["seeded"].std() - 1) < 0.05
    assert abs(probes["large-range"].std() - 30) < 1.5
    assert [set(np.unique(image)) for image in probes["constant"]] == [{1.0}, {-1.0}]
    assert np.array_equal(probes["photos"][1:], form.from_image(sample_photos()[1]))


def test_probe_sets_are_the_same_in_every_range() -> None:
    normal, byte = preprocessing(32, 32), preprocessing(32, 32, InputRange.BYTE)
    want, got = probe_sets(normal), probe_sets(byte)
    for name in ("seeded", "photos", "constant", "large-range"):
        np.testing.assert_allclose(byte.normalize(got[name]), want[name], atol=1e-4)


def test_probe_sets_depend_on_the_seed_only() -> None:
    form = preprocessing(32, 32)
    first, again, other = probe_sets(form), probe_sets(form), probe_sets(form, seed=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    moved = [name for name in first if not np.array_equal(first[name], other[name])]
    assert moved == ["seeded", "large-range"]


def test_photos_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="scikit-learn") as caught:
        sample_photos.__wrapped__()
    assert "care-mobile[export]" in caught.value.hint
