from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from care_mobile.bundle import Bundle
from care_mobile.errors import UsageError
from care_mobile.runtimes import RUNTIMES, get_runtime
from care_mobile.runtimes.base import ordered_inputs

Feed = dict[str, NDArray[Any]]


def test_inputs_come_in_the_manifests_order(onnx_bundle: Bundle, feed: Feed) -> None:
    first, second = ordered_inputs(onnx_bundle, {"y": feed["y"], "x": feed["x"]})
    assert np.array_equal(first, feed["x"])
    assert np.array_equal(second, feed["y"])


def test_inputs_become_contiguous_float32(onnx_bundle: Bundle, feed: Feed) -> None:
    wide = np.asfortranarray(np.arange(12, dtype=np.float64).reshape(4, 3))[::2]
    first, _ = ordered_inputs(onnx_bundle, feed | {"x": wide})
    assert first.dtype == np.float32
    assert first.flags.c_contiguous
    assert first.tolist() == [[0, 1, 2], [6, 7, 8]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, ">f4"])
def test_real_numbers_are_cast(onnx_bundle: Bundle, feed: Feed, dtype: Any) -> None:
    first, _ = ordered_inputs(onnx_bundle, feed | {"x": np.full((1, 3), 7, dtype)})
    assert first.dtype == np.dtype("float32")
    assert (first == 7).all()


@pytest.mark.parametrize("dtype", [np.complex64, "U3", object])
def test_other_values_are_refused(onnx_bundle: Bundle, feed: Feed, dtype: Any) -> None:
    with pytest.raises(UsageError, match=r"input 'x' is .*, not float32"):
        ordered_inputs(onnx_bundle, feed | {"x": np.zeros((1, 3), dtype)})


def test_fractions_are_not_cut_off(onnx_bundle: Bundle, feed: Feed) -> None:
    x, y = onnx_bundle.manifest.inputs
    inputs = (x.model_copy(update={"dtype": "int64"}), y)
    manifest = onnx_bundle.manifest.model_copy(update={"inputs": inputs})
    with pytest.raises(UsageError, match="input 'x' is float32, not int64"):
        ordered_inputs(Bundle(onnx_bundle.path, manifest), feed)


def with_x(bundle: Bundle, **changes: Any) -> Bundle:
    """The bundle with another `x` in its manifest."""
    x, y = bundle.manifest.inputs
    inputs = (x.model_copy(update=changes), y)
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"inputs": inputs}))


def test_half_precision_inputs_take_plain_floats(onnx_bundle: Bundle, feed: Feed) -> None:
    bundle = with_x(onnx_bundle, dtype="float16")
    first, _ = ordered_inputs(bundle, feed | {"x": np.array([[0.1, 65504.0, 1e6]], np.float32)})
    assert first.dtype == np.float16
    assert first.tolist() == [[float(np.float16(0.1)), 65504.0, np.inf]]


def test_images_take_pixels_with_fractions(onnx_bundle: Bundle, feed: Feed) -> None:
    """As the sessions of image inputs round them."""
    bundle = with_x(onnx_bundle, dtype="uint8", kind="image")
    first, _ = ordered_inputs(bundle, feed | {"x": np.full((1, 3), 7.5, np.float32)})
    assert (first.dtype, first.tolist()) == (np.float32, [[7.5, 7.5, 7.5]])


@pytest.mark.parametrize("names", [["x"], ["x", "y", "z"], ["x", "Y"], []])
def test_other_names_are_refused(onnx_bundle: Bundle, feed: Feed, names: list[str]) -> None:
    with pytest.raises(UsageError, match=r"takes inputs \['x', 'y'\]"):
        ordered_inputs(onnx_bundle, dict.fromkeys(names, feed["x"]))


@pytest.mark.parametrize("shape", [(2, 4), (3,), (1, 2, 3), (), (2, 0)])
def test_other_shapes_are_refused(onnx_bundle: Bundle, feed: Feed, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="input 'x' has shape"):
        ordered_inputs(onnx_bundle, feed | {"x": np.zeros(shape, np.float32)})


def test_a_free_dimension_takes_any_size_and_a_fixed_one_does_not(
    onnx_bundle: Bundle, feed: Feed
) -> None:
    five = np.zeros((5, 3), np.float32)
    assert ordered_inputs(onnx_bundle, feed | {"x": five})[0].shape == (5, 3)
    with pytest.raises(UsageError, match=r"'y' has shape \(5, 3\), not \(1, 3\)"):
        ordered_inputs(onnx_bundle, feed | {"y": five})


def test_runtimes_are_found_by_name() -> None:
    assert [get_runtime(runtime.name) for runtime in RUNTIMES] == list(RUNTIMES)
    with pytest.raises(UsageError, match="unknown runtime 'onnx'") as caught:
        get_runtime("onnx")
    assert "onnxruntime" in caught.value.hint
