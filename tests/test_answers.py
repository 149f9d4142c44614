"""Answers judged against the reference that a bundle carries."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from care_mobile.agreement import psnr_db
from care_mobile.answers import AnswerCheck, Sampled, judge_answers, sampling_stride
from care_mobile.bench.protocol.arithmetic import answer_stride
from care_mobile.bench.protocol.plan import Plan
from care_mobile.export.stored_probes import MAX_OUTPUT_ELEMENTS
from care_mobile.probes import AnswerLimit, Probe, TensorFile

Arrays = dict[str, NDArray[Any]]
RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((1, 1000)).astype(np.float32)
LIMIT = AnswerLimit(min_psnr_db=40.0)


def probe_of(arrays: Arrays, limit: AnswerLimit = LIMIT, stride: int = 1) -> Probe:
    return Probe(
        name="seeded",
        inputs=(TensorFile(name="image", dtype="float32", shape=(1,), file="probes/i"),),
        outputs=tuple(
            TensorFile(name=n, dtype=str(a.dtype), shape=a.shape, file=f"probes/{n}", stride=stride)
            for n, a in arrays.items()
        ),
        limits=(limit,) * len(arrays),
    )


def judged(want: NDArray[Any], have: Any, limit: AnswerLimit = LIMIT) -> AnswerCheck:
    arrays = {"y": want}
    found = judge_answers(probe_of(arrays, limit), arrays, {"y": have})
    assert AnswerCheck.model_validate_json(found.model_dump_json()) == found
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)
    return found


def noisy(array: NDArray[Any], db: float) -> NDArray[Any]:
    noise = RNG.choice([-1.0, 1.0], array.shape) * np.abs(array).max() / 10 ** (db / 20)
    return (array + noise).astype(array.dtype)


def test_the_same_answer() -> None:
    found = judged(SCORES, SCORES.copy())
    assert found.passed
    assert (found.psnr_db, found.max_abs, found.cosine) == (200.0, 0.0, pytest.approx(1.0))
    assert found.top1_same is True
    assert (found.partial, found.values, found.values_in_all) == (False, 1000, 1000)
    assert (found.probe, found.note, found.finite) == ("seeded", "", True)


@pytest.mark.parametrize(("db", "passes"), [(41.0, True), (39.0, False)])
def test_the_limit_decides(db: float, passes: bool) -> None:
    have = noisy(SCORES, db)
    found = judged(SCORES, have)
    assert found.passed is passes
    assert found.psnr_db == pytest.approx(psnr_db(SCORES.astype(float), have.astype(float)))
    assert bool(found.note) is not passes


def test_what_is_wrong_is_found_whatever_it_is() -> None:
    for wrong in (np.zeros_like(SCORES), -SCORES, SCORES[:, ::-1], np.roll(SCORES, 1), 2 * SCORES):
        assert not judged(SCORES, np.ascontiguousarray(wrong)).passed
    assert judged(SCORES, -SCORES).top1_same is False


def test_a_limit_of_the_largest_difference() -> None:
    have = SCORES.copy()
    have[0, 3] += 0.01
    assert judged(SCORES, have, AnswerLimit(min_psnr_db=40.0, max_abs=1e-2)).passed
    found = judged(SCORES, have, AnswerLimit(min_psnr_db=40.0, max_abs=1e-3))
    assert not found.passed
    assert found.max_abs == pytest.approx(0.01, rel=1e-4)


def test_the_peak_of_the_whole_set_is_the_ruler() -> None:
    have = noisy(SCORES, 39.0)
    peak = float(2 * np.abs(SCORES).max())
    assert judged(SCORES, have, AnswerLimit(min_psnr_db=40.0, peak=peak)).passed


@pytest.mark.parametrize("peak", [0.0, 5e-324, 1e-300, 1e308])
def test_a_forged_peak_is_a_number_like_any_other(peak: float) -> None:
    limit = AnswerLimit(min_psnr_db=40.0, max_abs=1e308, peak=peak)
    assert judged(SCORES, 1e30 * SCORES, limit).passed is (peak == 1e308)
    assert judged(SCORES, SCORES, limit).passed


def test_an_answer_that_is_zero_in_truth() -> None:
    zero, limit = np.zeros((1, 4), np.float32), AnswerLimit(min_psnr_db=-200.0, max_abs=1e-6)
    assert judged(zero, zero, AnswerLimit(min_psnr_db=90.0)).passed
    assert not judged(zero, zero + 1e-9, AnswerLimit(min_psnr_db=90.0)).passed
    assert judged(zero, zero + np.float32(5e-7), limit).passed
    assert not judged(zero, zero + np.float32(5e-6), limit).passed


@given(stride=st.integers(1, 1200), stored=st.integers(1, 1200))
def test_a_strided_sample_is_judged_where_both_are_known(stride: int, stored: int) -> None:
    limit = AnswerLimit(min_psnr_db=40.0, peak=float(np.abs(SCORES).max()))
    flat = SCORES.ravel()
    probe = probe_of({"y": SCORES}, limit, stored)
    reference = {"y": flat[::stored] if stored > 1 else SCORES}
    have = np.arange(1000, dtype=np.float32)  # wrong wherever it is not compared
    common = math.lcm(stride, stored)
    have[::common] = flat[::common]
    found = judge_answers(probe, reference, {"y": Sampled(have[::stride], stride)})
    assert found.passed
    assert found.partial is (common > 1)
    assert (found.values, found.values_in_all) == (-(-1000 // common), 1000)
    assert (found.top1_same is None) is (common > 1)
    have[::common] *= -1
    assert not judge_answers(probe, reference, {"y": Sampled(have[::stride], stride)}).passed


def test_lists_as_json_has_them() -> None:
    assert judged(SCORES, Sampled(SCORES.ravel().tolist(), 1)).passed
    assert judged(SCORES, Sampled([float(x) for x in SCORES.ravel()[::7]], 7)).passed
    indices = np.arange(6, dtype=np.int64).reshape(1, 6)
    assert judged(indices, Sampled([0, 1, 2, 3, 4, 5], 1)).passed
    assert judged(indices.astype(np.float32), Sampled([0, 1, 2, 3, 4, 5], 1)).passed
    mask = np.array([True, False])
    assert judged(mask, Sampled([True, False], 1)).passed
    assert judged(mask, Sampled([1, 0], 1)).passed


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "was not answered"),
        (SCORES[0], "has shape [1000]"),
        (SCORES[:, :-1], "has shape [1, 999]"),
        (SCORES.astype(np.int32), "is of int32, not float32"),
        (SCORES.astype(np.complex64), "is of complex64"),
        (SCORES.astype(str), "is of <U"),
        (np.full_like(SCORES, np.nan), "NaN at 1000 of 1000"),
        (np.where(SCORES > 2, np.nan, SCORES), "is NaN at"),
        (np.where(SCORES > 2, np.inf, SCORES), "is infinite at"),
        (Sampled(SCORES, 1), "has 1000 values instead of 1000"),
        (Sampled(SCORES.ravel()[:-1], 1), "has 999 values instead of 1000"),
        (Sampled(SCORES.ravel()[::3], 2), "has 334 values instead of 500 at stride 2"),
        (Sampled(SCORES.ravel(), 0), "a stride that is none"),
        (Sampled(SCORES.ravel(), -1), "a stride that is none"),
        (Sampled(SCORES.ravel(), True), "a stride that is none"),
        (Sampled(SCORES.ravel(), 1.0), "a stride that is none"),  # type: ignore[arg-type]
        (Sampled(["1"] * 1000, 1), "no list of numbers"),  # type: ignore[list-item]
        (Sampled([None] * 1000, 1), "no list of numbers"),  # type: ignore[list-item]
        (Sampled([[1.0], [1.0, 2.0]], 1), "no list of numbers"),  # type: ignore[list-item]
        (Sampled([10**400] * 1000, 1), "no list of numbers"),
        (Sampled([math.nan] * 1000, 1), "NaN at 1000"),
        (Sampled([], 1), "has 0 values instead of 1000"),
        (Sampled([1.0], 10**30), "differs"),
    ],
)
def test_what_is_no_answer_is_not_passed(answer: Any, says: str) -> None:
    answers = {} if answer is None else {"y": answer}
    found = judge_answers(probe_of({"y": SCORES}), {"y": SCORES}, answers)
    assert not found.passed
    assert says in found.note
    assert "\n" not in found.note
    json.loads(found.model_dump_json(), parse_constant=pytest.fail)


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.lists(st.none())
)


@given(values=st.lists(NUMBERS, max_size=6), stride=st.integers(-1, 9) | NUMBERS)
def test_nothing_an_answer_holds_raises(values: list[Any], stride: Any) -> None:
    for want in (np.arange(4, dtype=np.float32), np.arange(4), np.array([True, False, True, True])):
        found = judge_answers(probe_of({"y": want}), {"y": want}, {"y": Sampled(values, stride)})
        json.loads(found.model_dump_json(), parse_constant=pytest.fail)
        if found.passed:
            np.testing.assert_allclose(values, want[::stride], atol=0.1)


def test_whole_numbers_are_judged_by_the_share_that_is_equal() -> None:
    indices = np.arange(100, dtype=np.int64)
    have = indices.astype(np.int32)
    have[:2] = 7
    found = judged(indices, have, AnswerLimit(min_psnr_db=40.0, differing=0.02))
    assert found.passed
    assert found.equal_share == pytest.approx(0.98)
    assert "2.00% of its whole numbers differ" in found.note
    assert not judged(indices, have, AnswerLimit(min_psnr_db=40.0, differing=0.01)).passed
    assert "is of float64" in judged(indices, indices.astype(float)).note
    mask = np.array([True, False, True])
    assert judged(mask, mask.astype(np.int32)).passed
    assert not judged(mask, ~mask).passed


def test_the_worst_of_several_outputs_counts() -> None:
    arrays: Arrays = {"a": SCORES, "b": SCORES, "i": np.arange(10)}
    probe = probe_of(arrays)
    good = judge_answers(probe, arrays, arrays)
    assert good.passed
    assert (good.equal_share, good.top1_same, good.values_in_all) == (1.0, None, 2010)
    bad = judge_answers(probe, arrays, arrays | {"b": noisy(SCORES, 20.0)})
    assert not bad.passed
    assert bad.psnr_db == pytest.approx(20.0, abs=0.1)
    assert bad.note.startswith("b differs")
    missing = judge_answers(probe, arrays, {"a": SCORES, "b": SCORES, "more": SCORES})
    assert not missing.passed
    assert missing.note == "i was not answered"
    unclear = judge_answers(probe, arrays, arrays | {"b": SCORES * np.nan})
    assert unclear.psnr_db is None


def test_a_reference_that_is_none_passes_nothing() -> None:
    broken = SCORES.copy()
    broken[0, 0] = np.inf
    found = judged(broken, broken)
    assert not found.passed
    assert "reference in the bundle is not finite" in found.note


@given(count=st.integers(0, 2**40), most=st.integers(1, 2**24))
def test_a_sample_is_stored_where_a_harness_samples(count: int, most: int) -> None:
    stride = sampling_stride(count, most)
    assert stride == answer_stride(count, most)
    assert -(-count // stride) <= most


def test_a_harness_samples_by_default_what_is_stored() -> None:
    assert Plan.model_fields["answer_elements"].default == MAX_OUTPUT_ELEMENTS
