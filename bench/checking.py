"""The answers that a device gave on a bundle's probes, judged here against its references."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from care_mobile.answers import AnswerCheck, AnyArray, Sampled, judge_answers, reference_outputs
from care_mobile.bundle import Bundle
from care_mobile.errors import BundleError
from care_mobile.tensors import NUMBERS

from .planning import CellRequest
from .protocol.arithmetic import answer_stride
from .protocol.events import Answer, Checked
from .protocol.plan import Plan
from .protocol.record import Judged

Judge = Callable[[int, Checked], tuple[Checked, Judged | None]]
"""Round and check -> what the record keeps of it, and the judgement if there can be one."""


def judge_of(plan: Plan, requests: Sequence[CellRequest]) -> Judge:
    """A judge for the cells of a plan, which go with `requests`."""

    @cache
    def references(cell: int, probe: str) -> dict[str, AnyArray] | None:
        bundle = requests[cell].bundle
        found = next((p for p in bundle.manifest.probes if p.name == probe), None)
        return None if found is None else reference_outputs(bundle, found)

    def judge(number: int, checked: Checked) -> tuple[Checked, Judged | None]:
        kept = checked.model_copy(
            update={"answers": tuple(_without_data(answer) for answer in checked.answers)}
        )
        bundle = requests[checked.cell].bundle
        try:
            reference = references(checked.cell, checked.probe)
        except BundleError as error:
            return kept, _failed(number, checked, str(error))
        if reference is None:
            return kept, None
        found = _check(plan, bundle, checked, reference)
        if not isinstance(found, str) and found.passed and not _limited(bundle, checked.probe):
            return kept, None  # nothing was demanded of it: that is no agreement
        return kept, _judged(number, checked, found)

    return judge


def _limited(bundle: Bundle, name: str) -> bool:
    """Whether a probe demands anything of its answers."""
    limits = next(p.limits for p in bundle.manifest.probes if p.name == name)
    return any(limit.min_psnr_db is not None for limit in limits)


def _check(
    plan: Plan, bundle: Bundle, checked: Checked, reference: dict[str, AnyArray]
) -> AnswerCheck | str:
    probe = next(p for p in bundle.manifest.probes if p.name == checked.probe)
    answers = {}
    for answer in checked.answers:
        if answer.name in answers:
            return f"{answer.name} was answered twice"
        stride = answer_stride(math.prod(answer.shape), plan.answer_elements)
        if answer.stride != stride:
            return f"{answer.name} is a sample of stride {answer.stride}, not {stride}"
        decoded = decode(answer)
        if isinstance(decoded, str):
            return f"{answer.name} {decoded}"
        answers[answer.name] = decoded
    return judge_answers(probe, reference, answers)


def decode(answer: Answer) -> Sampled | str:
    """An answer's values, or what is wrong with it."""
    if answer.dtype not in NUMBERS:
        return f"is of {answer.dtype[:32]}, no type of numbers"
    if answer.data is None:
        return "has no data"
    try:
        content = base64.b64decode(answer.data, validate=True)
    except (binascii.Error, ValueError):
        return "is no base64"
    kind = np.dtype(answer.dtype).newbyteorder("<")
    count = -(-math.prod(answer.shape) // answer.stride)
    if len(content) != count * kind.itemsize:
        return f"has {len(content)} bytes instead of {count * kind.itemsize}"
    return Sampled(np.frombuffer(content, kind), answer.stride)


def _without_data(answer: Answer) -> Answer:
    content = (answer.data or "").encode(errors="replace")
    try:
        content = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    sha256 = hashlib.sha256(content).hexdigest()
    return answer.model_copy(update={"data": None, "sha256": sha256})


def _failed(number: int, checked: Checked, note: str) -> Judged:
    return Judged(
        round=number,
        cell=checked.cell,
        probe=checked.probe,
        moment=checked.moment,
        passed=False,
        note=note[:2000],
    )


def _judged(number: int, checked: Checked, found: AnswerCheck | str) -> Judged:
    if isinstance(found, str):
        return _failed(number, checked, found)
    return Judged(
        round=number,
        cell=checked.cell,
        probe=checked.probe,
        moment=checked.moment,
        passed=found.passed,
        psnr_db=found.psnr_db,
        max_abs=found.max_abs,
        equal_share=found.equal_share,
        partial=found.partial,
        note=found.note[:2000],
    )
