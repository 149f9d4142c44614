from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.agreement import MAX_DB, cosine, psnr_db
from care_mobile.export.judgement import Threshold
from care_mobile.export.parity import (
    ORDINARY,
    THRESHOLDS,
    compare,
    compare_probe_set,
    stacked,
)
from care_mobile.export.targets import TARGETS

LIMIT = Threshold(90.0, 1e-4)


def logits(seed: int = 0, n: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 10))


def test_every_target_and_precision_has_thresholds() -> None:
    assert set(THRESHOLDS) == {(t.name, p) for t in TARGETS for p in t.precisions}
    for table in THRESHOLDS.values():
        assert set(table) - {"flat"} == {"ordinary", "extreme"}
        assert table["ordinary"].min_psnr_db is not None


def test_fp32_must_reach_what_is_promised() -> None:
    for target in ("onnx", "executorch"):
        ordinary = THRESHOLDS[target, "fp32"]["ordinary"]
        assert ordinary.min_psnr_db == 90.0
        assert ordinary.max_abs == 1e-4


@pytest.mark.parametrize(("noise", "passed"), [(1e-6, True), (3e-4, False)])
def test_the_threshold_decides(noise: float, passed: bool) -> None:
    want = logits()
    result = compare_probe_set("seeded", [want], [want + noise * np.sign(logits(1))], LIMIT)
    assert result.passed is passed
    assert result.max_abs == pytest.approx(noise, rel=1e-6)


def test_psnr_is_against_the_peak() -> None:
    want = np.array([[4.0, -2.0]])
    assert psnr_db(want, want + 0.04) == pytest.approx(40.0)
    assert psnr_db(want, want) == MAX_DB
    assert psnr_db(np.zeros((1, 3)), np.full((1, 3), 1e-9)) == -MAX_DB
    assert psnr_db(np.zeros((1, 3)), np.zeros((1, 3))) == MAX_DB


@given(st.floats(1e-3, 1e3), st.integers(0, 99))
def test_psnr_and_cosine_do_not_depend_on_scale(scale: float, seed: int) -> None:
    want, have = logits(seed), logits(seed) + 1e-3 * logits(seed + 1)
    assert psnr_db(scale * want, scale * have) == pytest.approx(psnr_db(want, have), abs=1e-6)
    assert cosine(scale * want, have) == pytest.approx(cosine(want, have), abs=1e-9)
    assert cosine(want, -want) == pytest.approx(-1.0)


def test_max_abs_grows_with_large_outputs_only() -> None:
    assert compare_probe_set("seeded", [1e4 * logits()], [1e4 * logits() + 0.1], LIMIT).passed
    assert not compare_probe_set("seeded", [0.1 * logits()], [0.1 * logits() + 2e-4], LIMIT).passed


def test_top1_agreement() -> None:
    want = np.eye(10)[:4]
    have = want.copy()
    have[0] = np.roll(have[0], 1)
    assert compare_probe_set("photos", [want], [have], LIMIT).top1_agreement == 0.75
    assert (
        compare_probe_set("photos", [want[:, :, None]], [want[:, :, None]], LIMIT).top1_agreement
        is None
    )
    assert compare_probe_set("photos", [want, want], [want, want], LIMIT).top1_agreement is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_results_fail(bad: float) -> None:
    have = logits()
    have[1, 2] = bad
    result = compare_probe_set("seeded", [logits()], [have], Threshold(40.0))
    assert not result.finite
    assert not result.passed


def test_beyond_the_range_is_reported_where_nothing_is_demanded() -> None:
    have = logits()
    have[1, 2] = np.inf
    result = compare_probe_set("large-range", [logits()], [have], Threshold(None))
    assert not result.finite
    assert result.passed


def test_an_overflow_the_reference_shares_is_no_difference() -> None:
    both = logits()
    both[0, 0] = np.inf
    assert compare_probe_set("large-range", [both], [both.copy()], LIMIT).passed


def test_another_shape_fails() -> None:
    assert not compare_probe_set("seeded", [logits()], [logits()[:, :9]], Threshold(None)).passed


def test_the_worst_output_counts() -> None:
    good, bad = logits(), logits() + 0.5
    result = compare_probe_set("seeded", [good, good], [good, bad], LIMIT)
    assert not result.passed
    assert result.max_abs == pytest.approx(0.5)


def test_extreme_probes_have_their_own_limit() -> None:
    want = {"seeded": [logits()], "large-range": [logits()]}
    have = {"seeded": [logits()], "large-range": [logits() + 1e-4]}
    parity = compare(want, have, "onnx", "fp32", "onnxruntime")
    assert parity.status == "verified"
    assert "large-range" not in ORDINARY
    assert (
        compare(want, have | {"seeded": [logits() + 1e-2]}, "onnx", "fp32", "x").status == "failed"
    )


def test_flat_images_have_a_limit_of_their_own_for_integers() -> None:
    rng = np.random.default_rng(0)
    want = {name: [logits()] for name in ("seeded", "zeros")}
    have = {name: [a + 0.1 * np.abs(a).max() * rng.standard_normal(a.shape) for a in arrays]
            for name, arrays in want.items()}  # fmt: skip
    found = {r.probes: r for r in compare(want, have, "onnx", "int8", "onnxruntime").results}
    assert 15 < found["zeros"].psnr_db < 25
    assert found["zeros"].passed
    assert not found["seeded"].passed


@pytest.mark.parametrize(
    ("output", "together"),
    [((1, 10), (3, 10)), ((1,), (3,)), ((), (3,)), ((100, 4), (3, 100, 4)), ((5,), (3, 5))],
)
def test_outputs_with_and_without_a_batch_are_stacked(
    output: tuple[int, ...], together: tuple[int, ...]
) -> None:
    answers = [[np.full(output, number, np.int64)] for number in range(3)]
    (column,) = stacked(answers)
    assert (column.shape, str(column.dtype)) == (together, "int64")
    assert [int(part.max()) for part in column] == [0, 1, 2]


def test_outputs_of_changing_shape_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="same shape"):
        stacked([[np.zeros((2, 4))], [np.zeros((3, 4))]])
