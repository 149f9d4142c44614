"""What is agreement, what is rounding and what is a difference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from care_mobile.agreement import MAX_DB, comparable, cosine, peak, psnr_db
from care_mobile.export.judgement import Threshold, judge
from care_mobile.export.parity import THRESHOLDS, compare, compare_probe_set

FP32 = THRESHOLDS["onnx", "fp32"]["ordinary"]
FP16 = THRESHOLDS["coreml", "fp16"]["ordinary"]
INT8 = THRESHOLDS["onnx", "int8"]["flat"]
ODD = [np.nan, np.inf, -np.inf]


def values(seed: int = 0, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(seed).standard_normal(shape or (4, 10))


def with_one(odd: float) -> NDArray[Any]:
    array = values()
    array[1, 2] = odd
    return array


@pytest.mark.parametrize("want", [*ODD, 1.0])
@pytest.mark.parametrize("have", [*ODD, 1.0])
def test_only_equal_infinities_agree(want: float, have: float) -> None:
    """NaN agrees with nothing, NaN included; an infinity with itself only."""
    agree = want == have
    pair = with_one(want), with_one(have)
    assert comparable(*pair) is agree
    assert (psnr_db(*pair) == MAX_DB) is agree
    assert (cosine(*pair) == pytest.approx(1.0)) is agree
    found = judge(*pair, FP32)
    assert (found.passed, found.finite) == (agree, agree)
    result = compare_probe_set("seeded", [pair[0]], [pair[1]], FP32)
    assert result.passed is agree
    assert bool(result.note) is not agree


@given(st.lists(st.sampled_from([*ODD, 0.0, 1.5]), min_size=1, max_size=6), st.randoms())
def test_an_array_agrees_with_itself_unless_it_holds_nan(row: list[float], rng: Any) -> None:
    want = np.array([row])
    assert judge(want, want.copy(), FP32).passed is not np.isnan(want).any()
    other = want.copy()
    other[0, rng.randrange(len(row))] = np.nan
    assert not judge(want, other, FP32).passed


def test_a_network_of_nan_is_never_verified() -> None:
    nan = {name: [np.full((2, 10), np.nan)] for name in ("seeded", "photos", "zeros")}
    for target, precision in THRESHOLDS:
        parity = compare(nan, nan, target, precision, "x")
        assert parity.status == "failed"
        assert all("NaN at 20 of 20 places in the network" in r.note for r in parity.results)


def test_infinities_are_left_out_of_the_numbers() -> None:
    want, have = with_one(-np.inf), with_one(-np.inf)
    have[0, 0] += 0.5
    found = judge(want, have, FP32)
    assert not found.passed
    assert found.max_abs == pytest.approx(0.5)
    rms = 0.5 / np.sqrt(39)
    assert found.psnr_db == pytest.approx(20 * np.log10(peak(want) / rms))
    assert 0.9 < found.cosine < 1


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 0), (0, 4), (2, 3, 0, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_scalars_and_empty_outputs(shape: tuple[int, ...], dtype: type) -> None:
    want = np.ones(shape, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = compare_probe_set("seeded", [want], [want.copy()], FP32)
    assert result.passed
    assert result.psnr_db == MAX_DB


def test_huge_values_do_not_overflow() -> None:
    want = np.full((1, 4), 1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge(want, want.copy(), FP32).passed
        assert not judge(want, -want, FP32).passed
    assert cosine(want, want) == pytest.approx(1.0)


# Answers that are nearly zero.


def test_noise_where_the_answer_is_zero_is_no_difference() -> None:
    want, have = np.zeros((1, 10)), 1e-7 * values(1, 1, 10)
    found = judge(want, have, FP32, textured=False, ordinary_peak=3.0)
    assert found.passed
    assert found.psnr_db > 130
    assert "nearly zero" in found.note


@pytest.mark.parametrize(("limit", "noise", "wrong"), [
    (FP32, 1e-6, 1e-4), (FP16, 1e-3, 3e-2), (INT8, 1e-2, 0.3),
])  # fmt: skip
def test_a_planted_error_on_a_flat_image_fails(
    limit: Threshold, noise: float, wrong: float
) -> None:
    """Where the truth is zero or nearly so, and where it is not."""
    for truth in (np.zeros((1, 10)), 1e-9 * values(0, 1, 10)):
        for size, passes in ((noise, True), (wrong, False)):
            have = truth + 3.0 * size * np.sign(values(1, 1, 10))
            found = judge(truth, have, limit, textured=False, ordinary_peak=3.0)
            assert found.passed is passes, (size, found)
    truth = np.sign(values(0, 1, 10))
    assert not judge(truth, truth + 0.5, limit, textured=False, ordinary_peak=3.0).passed


def test_a_flat_image_is_held_to_what_ordinary_images_are() -> None:
    """ExecuTorch's instance normalisation of a flat image: its mean by some ten roundings apart."""
    truth = 1e-7 * values(0, 4, 1000)
    noise = values(1, 4, 1000)
    near = judge(truth, truth + 2e-5 * noise, FP32, textured=False, ordinary_peak=1.0)
    far = judge(truth, truth + 5e-5 * noise, FP32, textured=False, ordinary_peak=1.0)
    assert near.passed and not far.passed


def test_nearly_zero_excuses_nothing_on_images_with_texture() -> None:
    want = np.zeros((1, 10))
    found = judge(want, want + 1e-5, FP32, ordinary_peak=3.0)
    assert not found.passed
    assert "is zero in the network" in found.note


def test_a_wrong_border_on_a_flat_image_fails() -> None:
    """One row of a feature map, as with another padding."""
    want = np.full((1, 4, 16, 16), 0.01)
    have = want.copy()
    have[..., 0] = 0.0
    for limit in (FP32, FP16):
        assert not judge(want, have, limit, textured=False, ordinary_peak=0.5).passed


# What the network's own rounding explains.


def moves(size: float) -> Any:
    return lambda: [values() + size * values(seed) for seed in (7, 8)]


EXTREME = THRESHOLDS["onnx", "fp32"]["extreme"]


def test_rounding_of_the_network_itself_explains_a_difference_far_out() -> None:
    have = values() + 2e-2 * values(1)
    assert judge(values(), have, EXTREME, strict=False).passed is False
    found = judge(values(), have, EXTREME, strict=False, moves=moves(2e-2))
    assert found.passed
    assert "rounding alone" in found.note
    assert not judge(values(), have, EXTREME, strict=False, moves=moves(2e-4)).passed


def test_it_explains_little_on_ordinary_inputs() -> None:
    near, wide = values() + 1e-4 * values(1), values() + 1e-2 * values(1)
    assert not judge(values(), near, FP32).passed
    assert judge(values(), near, FP32, moves=moves(1e-4)).passed
    assert not judge(values(), wide, FP32, moves=moves(1e-2)).passed


def test_one_place_far_off_is_no_rounding() -> None:
    want = values(0, 4, 1000)
    own = [want + 1e-4 * values(seed, 4, 1000) for seed in (7, 8)]
    assert judge(want, want + 1e-4 * values(1, 4, 1000), FP32, moves=lambda: own).passed
    have = want.copy()
    have[2, 500] += 1e-2
    assert not judge(want, have, FP32, moves=lambda: own).passed


def test_an_answer_of_nan_explains_nothing() -> None:
    nan = [np.full((4, 10), np.nan)]
    have = values() + 2e-2 * values(1)
    assert not judge(values(), have, EXTREME, strict=False, moves=lambda: nan).passed


def test_what_the_network_cannot_hold_is_not_judged_far_out() -> None:
    assert judge(with_one(np.inf), values(), EXTREME, strict=False).passed
    assert not judge(with_one(np.inf), values(), FP32, strict=True).passed
    assert not judge(values(), with_one(np.inf), EXTREME, strict=False).passed


# Whole numbers.


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_whole_numbers_agree_where_they_are_equal(dtype: type) -> None:
    want = (values(0, 2, 50, 50) > 0).astype(dtype)
    assert compare_probe_set("photos", [want], [want.astype(np.int32)], FP32).equal_share == 1.0
    wrong = want.copy()
    wrong[:, :5] = 1 - wrong[:, :5].astype(np.int8)
    for limit in (FP32, FP16, INT8):
        result = compare_probe_set("photos", [want], [wrong], limit)
        assert not result.passed
        assert result.equal_share == pytest.approx(0.9)
        assert "10.00% of its whole numbers differ" in result.note


def test_an_index_off_by_one_is_no_small_error() -> None:
    want = np.random.default_rng(0).integers(100, 1000, (2, 40, 40))
    assert psnr_db(want.astype(float), want + 1.0) > 55
    for limit in (FP32, FP16, INT8):
        assert not judge(want, want + 1, limit).passed


def test_nearly_tied_values_may_differ_where_rounding_changes_them() -> None:
    want = np.zeros((1, 100, 100), np.int64)
    have, own = want.copy(), want.copy()
    have[0, :3, 0], own[0, 1:4, 5] = 1, 2
    assert not judge(want, have, FP32).passed
    found = judge(want, have, FP32, moves=lambda: [want, own])
    assert found.passed
    assert "0.03% of its whole numbers differ; rounding alone changes 0.03%" in found.note
    assert not judge(want, 1 - want, FP32, moves=lambda: [want, 1 - own]).passed
    assert judge(want, 1 - want, FP32, textured=False, moves=lambda: [want, 1 - own]).passed


def test_indices_do_not_hide_scores() -> None:
    scores, indices = values(), np.arange(40).reshape(4, 10)
    result = compare_probe_set("seeded", [scores, indices], [scores + 0.1, indices], FP32)
    assert not result.passed
    assert result.max_abs == pytest.approx(0.1)
    assert result.psnr_db < 40
    result = compare_probe_set("seeded", [scores, indices], [scores, indices + 1], FP32)
    assert not result.passed
    assert (result.psnr_db, result.equal_share) == (MAX_DB, 0.0)
    assert result.note.startswith("output 2 100.00%")


def test_a_bundle_that_answers_nan_for_an_index_differs() -> None:
    want = np.zeros((1, 4), np.int64)
    found = judge(want, np.array([[0.0, np.nan, 0.0, 0.0]]), FP32)
    assert (found.passed, found.finite) == (False, False)


def test_peak_ignores_what_is_not_finite() -> None:
    assert peak(np.array([1.0, -3.0, np.inf, np.nan])) == 3.0
    assert peak(np.array([np.nan])) == 0.0
    assert peak(np.zeros(0)) == 0.0
