"""pad and crop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, arrays, call, numbers, rounds_once
from ml_programs import Array, mb

from care_mobile.errors import RuntimeFailure

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


@settings(max_examples=30, deadline=None)
@given(arrays(), st.sampled_from(sorted(MODES)), numbers(-2, 2), st.data())
def test_pad_covers_the_last_axes(x: Array, mode: str, value: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, x.ndim if mode == "constant" else min(x.ndim, 2)))
    most = [size - 1 if mode == "reflect" else size for size in x.shape[x.ndim - count :]]
    amounts = [data.draw(st.integers(0, limit)) for limit in most for _ in range(2)]
    widths = [(0, 0)] * (x.ndim - count) + list(zip(amounts[::2], amounts[1::2], strict=True))
    options = {"constant_values": value} if mode == "constant" else {}
    expected = np.pad(x.astype(np.float64), widths, MODES[mode], **options)  # type: ignore[call-overload]
    agree(
        lambda x: mb.pad(x=x, pad=amounts, mode=mode, constant_val=np.float32(value)),
        {"x": x},
        expected,
    )


def test_pad_written_out() -> None:
    x = np.array([[1.0, 2, 3]])
    pad = np.array([2, 1])
    assert call("pad", x=x, pad=pad).tolist() == [[0, 0, 1, 2, 3, 0]]
    modes = {"reflect": [3, 2, 1, 2, 3, 2], "replicate": [1, 1, 1, 2, 3, 3]}
    for mode, expected in modes.items():
        assert call("pad", x=x, pad=pad, mode=np.asarray(mode)).tolist() == [expected]


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_core_ml_loads_no_such_padding_of_other_axes(mode: str) -> None:
    """The table of apple/coremltools PR #2701."""
    x = np.ones((2, 2, 3, 3, 3))
    loaded = ([0, 0] * 4 + [1, 1], [0, 0] * 3 + [1, 1] * 2)
    for pad in loaded:
        call("pad", x=x, pad=np.array(pad), mode=np.asarray(mode))
    for axis in (0, 1, 2):
        pad = [0, 0] * axis + [1, 1] + [0, 0] * (4 - axis)
        with pytest.raises(RuntimeFailure, match="Core ML does not load it"):
            call("pad", x=x, pad=np.array(pad), mode=np.asarray(mode))


def test_pad_declared() -> None:
    x = np.array([[1.5, -2.25]], np.float16)
    expected = np.pad(x.astype(np.float64), ((0, 0), (1, 0)), constant_values=np.float16(0.1))
    rounds_once(
        lambda x: mb.pad(x=x, pad=[1, 0], mode="constant", constant_val=np.float16(0.1)),
        {"x": x}, expected,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pad": [1, 1], "mode": "symmetric"}, "mode 'symmetric', which is not known"),
        ({"pad": [1, 3], "mode": "reflect"}, "reflects (1, 3) elements"),
        ({"pad": [1, 4], "mode": "replicate"}, "repeats (1, 4) elements"),
        ({"pad": [1]}, "pad (1,)"),
        ({"pad": [1, -1]}, "pad (1, -1)"),
        ({"pad": [1, 1] * 3}, "for an input (2, 3)"),
    ],
)
def test_pad_refuses(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeFailure) as error:
        call("pad", x=np.ones((2, 3)), **{n: np.asarray(v) for n, v in parameters.items()})
    assert message in str(error.value)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(1, 2))
def test_crop_cuts_both_ends(cuts: list[int], channels: int) -> None:
    x = np.arange(channels * 30, dtype=np.float32).reshape(channels, 5, 6)
    top, bottom, left, right = cuts
    expected = x[:, top : 5 - bottom, left : 6 - right]
    agree(
        lambda x: mb.crop(x=x, crop_height=cuts[:2], crop_width=cuts[2:]), {"x": x}, expected,
        evaluated=False,
    )  # fmt: skip


@pytest.mark.parametrize("cut", [[3, 3], [-1, 0], [1]])
def test_crop_refuses(cut: list[int]) -> None:
    with pytest.raises(RuntimeFailure, match="off an axis of 5"):
        call("crop", x=np.ones((1, 5, 6)), crop_height=np.array(cut), crop_width=np.array([0, 0]))
