from __future__ import annotations

import base64
import hashlib

import numpy as np
import pytest
from conftest import WriteBundle
from numpy.typing import NDArray

from care_mobile.answers import reference_outputs
from care_mobile.bench.checking import judge_of
from care_mobile.bench.planning import CellRequest
from care_mobile.bench.protocol.events import Answer, Checked
from care_mobile.bench.protocol.plan import Cell, Plan, Round
from care_mobile.bench.protocol.record import Judged
from care_mobile.bundle import Bundle
from test_bench.sessions import NOOP


def plan(limit: int = 65_536) -> Plan:
    return Plan(
        session="s",
        created="2026-11-26T12:00:00Z",
        cells=(Cell(id="a", label="a", bundle=NOOP, engine="noop"),),
        rounds=(Round(number=0, replicate=0, cells=(0,), phases=()),),
        answer_elements=limit,
    )


@pytest.fixture
def bundle(write_bundle: WriteBundle) -> Bundle:
    return Bundle.open(write_bundle("a", probed=True))


@pytest.fixture
def right(bundle: Bundle) -> NDArray[np.float32]:
    (probe,) = bundle.manifest.probes
    return reference_outputs(bundle, probe)["logits"]


def answer(values: NDArray[np.float32], **changes: object) -> Answer:
    data = base64.b64encode(values.astype("<f4").tobytes()).decode()
    fields = {"name": "logits", "dtype": "float32", "shape": (1, 3, 8, 8), "data": data}
    return Answer(**{**fields, **changes})  # type: ignore[arg-type]


def judged(
    bundle: Bundle, *answers: Answer, probe: str = "seeded", limit: int = 65_536
) -> tuple[Checked, Judged | None]:
    checked = Checked(n=3, at_ns=5, cell=0, probe=probe, answers=answers)
    judge = judge_of(plan(limit), (CellRequest(bundle.path, bundle, "noop"),))
    return judge(0, checked)


def test_right_answers_pass_and_only_their_hash_is_kept(
    bundle: Bundle, right: NDArray[np.float32]
) -> None:
    kept, found = judged(bundle, answer(right))
    assert found is not None
    assert found.passed
    assert not found.partial
    assert found.psnr_db == 200.0
    (one,) = kept.answers
    assert one.data is None
    assert one.sha256 == hashlib.sha256(right.tobytes()).hexdigest()


def test_a_sample_passes_as_one(bundle: Bundle, right: NDArray[np.float32]) -> None:
    _, found = judged(bundle, answer(right.reshape(-1)[::5], stride=5), limit=48)
    assert found is not None
    assert found.passed
    assert found.partial


def test_a_thinner_sample_than_was_asked_for_does_not_pass(
    bundle: Bundle, right: NDArray[np.float32]
) -> None:
    _, found = judged(bundle, answer(right.reshape(-1)[::192], stride=192))
    assert found is not None
    assert not found.passed
    assert "stride 192, not 1" in found.note


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "no base64!"},
        {"data": ""},
        {"data": None},
        {"dtype": "float64"},
        {"dtype": "object"},
        {"dtype": "v1000000"},
        {"name": "other"},
        {"shape": (1, 3, 8, 9)},
        {"shape": (2**31 - 1,) * 16},
    ],
    ids=str,
)
def test_answers_that_are_none_do_not_pass(
    bundle: Bundle, right: NDArray[np.float32], changes: dict[str, object]
) -> None:
    _, found = judged(bundle, answer(right, **changes))
    assert found is not None
    assert not found.passed
    assert found.note


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e9])
def test_wrong_answers_do_not_pass(
    bundle: Bundle, right: NDArray[np.float32], wrong: float
) -> None:
    values = right.copy()
    values[0, 0, 0, 0] = wrong
    _, found = judged(bundle, answer(values))
    assert found is not None
    assert not found.passed


def test_what_is_reported_but_not_judged_is_no_agreement(
    bundle: Bundle, right: NDArray[np.float32]
) -> None:
    (probe,) = bundle.manifest.probes
    limits = tuple(limit.model_copy(update={"min_psnr_db": None}) for limit in probe.limits)
    probes = (probe.model_copy(update={"limits": limits}),)
    free = Bundle(bundle.path, bundle.manifest.model_copy(update={"probes": probes}))
    assert judged(free, answer(right * 7))[1] is None
    _, found = judged(free, answer(right * np.float32(np.nan)))
    assert found is not None
    assert not found.passed


def test_an_output_has_one_answer(bundle: Bundle, right: NDArray[np.float32]) -> None:
    _, found = judged(bundle, answer(right * 2), answer(right))
    assert found is not None
    assert not found.passed
    assert "twice" in found.note


def test_no_answer_is_no_agreement(bundle: Bundle) -> None:
    _, found = judged(bundle)
    assert found is not None
    assert not found.passed


def test_what_has_no_reference_is_not_judged(bundle: Bundle, right: NDArray[np.float32]) -> None:
    kept, found = judged(bundle, answer(right), probe="noise")
    assert found is None
    assert kept.answers[0].data is None


def test_a_reference_that_was_altered_judges_nothing(
    bundle: Bundle, right: NDArray[np.float32]
) -> None:
    (probe,) = bundle.manifest.probes
    (bundle.path / probe.outputs[0].file).write_bytes(b"altered")
    _, found = judged(bundle, answer(right))
    assert found is not None
    assert not found.passed
