"""Answers of a bundle, computed anywhere, against what the reference network answers.

A bundle carries a few inputs and the reference's outputs (`Manifest.probes`; none in older ones,
which then give nothing to judge). What runs the bundle elsewhere gives its answers back whole or as
a strided sample: every `stride`-th element, taken flat in C order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import comparable, cosine, distance, peak, psnr_db
from .bundle import Bundle
from .errors import BundleError
from .files import read_small
from .frozen import Count, Frozen
from .probes import AnswerLimit, Probe, TensorFile
from .tensors import elements, is_float

AnyArray = NDArray[Any]

_AGAIN = "export it again with care-export"


class Sampled(NamedTuple):
    """Elements 0, `stride`, 2 `stride`, ... of an answer taken flat in C order."""

    values: AnyArray | Sequence[float]
    stride: int = 1


Answer = AnyArray | Sampled
"""An output as an array in its shape, or a sample of it."""


class AnswerCheck(Frozen):
    """How far answers are from the reference's on one probe; the worst output counts.

    Attributes:
        psnr_db, max_abs, cosine: of outputs in floating point, or of all where there are none;
            None where no difference can be taken.
        equal_share: of outputs in whole numbers or truth values, the share that is equal.
        finite: no NaN and no infinity: no reference that is stored has any.
        top1_same: whether the largest class is the same, where the output is scores per class.
        partial: whether only a sample was compared: `values` of `values_in_all`.
        note: what is wrong, and what must be said.
    """

    probe: str
    passed: bool
    psnr_db: float | None = None
    max_abs: float | None = None
    cosine: float | None = None
    equal_share: float | None = None
    finite: bool = True
    top1_same: bool | None = None
    partial: bool = False
    values: Count = 0
    values_in_all: Count = 0
    note: str = ""


def read_tensor(bundle: Bundle, tensor: TensorFile) -> AnyArray:
    """A tensor of the bundle's probes, in its shape; flat where only a sample is stored.

    Raises:
        BundleError: if its file is gone or is not the one that the manifest lists.
    """
    path = bundle.file(tensor.file)
    try:
        content = read_small(path, tensor.size_bytes)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}", _AGAIN) from error
    listed = bundle.manifest.files[tensor.file].sha256
    if len(content) != tensor.size_bytes or hashlib.sha256(content).hexdigest() != listed:
        raise BundleError(
            f"{bundle.path}: {tensor.file} is not the file the manifest describes", _AGAIN
        )
    if tensor.dtype == "bool":  # other bytes than 0 and 1 are no truth values to numpy
        flat: AnyArray = np.frombuffer(content, np.uint8) != 0
    else:
        kind = np.dtype(tensor.dtype)
        flat = np.frombuffer(content, kind.newbyteorder("<")).astype(kind)
    return flat if tensor.stride > 1 else flat.reshape(tensor.shape)


def probe_inputs(bundle: Bundle, probe: Probe) -> dict[str, AnyArray]:
    """What the bundle is asked, by input: as its runtimes here take it."""
    return {tensor.name: read_tensor(bundle, tensor) for tensor in probe.inputs}


def reference_outputs(bundle: Bundle, probe: Probe) -> dict[str, AnyArray]:
    """What the reference network answers, by output; see `read_tensor`."""
    return {tensor.name: read_tensor(bundle, tensor) for tensor in probe.outputs}


def tensor_bytes(array: AnyArray) -> bytes:
    """An array as a probe's file has it: little-endian, in C order."""
    return array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()


def sampling_stride(count: int, most: int) -> int:
    """The least stride that leaves at most `most` of `count` elements and has no divisor in common
    with `count`: a multiple of the width would see one column only. It is also the protocol's, so
    that what is stored and what is sent are the same places."""
    stride = max(1, -(-count // most))
    while stride > 1 and math.gcd(stride, count) > 1:
        stride += 1
    return stride


def judge_answers(
    probe: Probe, reference: Mapping[str, AnyArray], answers: Mapping[str, Answer]
) -> AnswerCheck:
    """Hold answers against the reference's by the probe's own limits. Never raises for what the
    answers are: their sender is not trusted.

    Args:
        reference: by output, as `reference_outputs` gives it.
        answers: by output; those that the probe has no reference for are not looked at.
    """
    judged = [
        _judge(tensor, limit, reference[tensor.name], answers.get(tensor.name))
        for tensor, limit in zip(probe.outputs, probe.limits, strict=True)
    ]
    numbers = [one for one in judged if one.equal_share is None] or judged
    shares = [one.equal_share for one in judged if one.equal_share is not None]
    said = [
        f"{tensor.name} {one.note}" if len(judged) > 1 else one.note
        for tensor, one in zip(probe.outputs, judged, strict=True)
        if one.note
    ]
    return AnswerCheck(
        probe=probe.name,
        passed=all(one.passed for one in judged),
        psnr_db=_worst([one.psnr_db for one in numbers], min),
        max_abs=_worst([one.max_abs for one in numbers], max),
        cosine=_worst([one.cosine for one in numbers], min),
        equal_share=min(shares, default=None),
        finite=all(one.finite for one in judged),
        top1_same=judged[0].top1_same if len(judged) == 1 else None,
        partial=any(one.values < one.values_in_all for one in judged),
        values=sum(one.values for one in judged),
        values_in_all=sum(one.values_in_all for one in judged),
        note="; ".join(said),
    )


@dataclass(frozen=True)
class _Judged:
    """One output; see `AnswerCheck`."""

    passed: bool
    values_in_all: int
    values: int = 0
    psnr_db: float | None = None
    max_abs: float | None = None
    cosine: float | None = None
    equal_share: float | None = None
    finite: bool = True
    top1_same: bool | None = None
    note: str = ""


def _worst(found: Sequence[float | None], pick: Any) -> float | None:
    """None as soon as one is: a number of the others would look like one of all."""
    if any(one is None for one in found):
        return None
    worst: float = pick(found)
    return worst


def _judge(
    tensor: TensorFile, limit: AnswerLimit, reference: AnyArray, answer: Answer | None
) -> _Judged:
    total = elements(tensor.shape)
    if answer is None:
        return _Judged(passed=False, values_in_all=total, note="was not answered")
    found = _flat(tensor, answer)
    if isinstance(found, str):
        return _Judged(passed=False, values_in_all=total, note=found)
    have, stride = found
    # What both hold: the multiples of both strides.
    common = math.lcm(tensor.stride, stride)
    want = reference.reshape(-1)[:: common // tensor.stride]
    have = have[:: common // stride]
    whole = reference if tensor.stride == 1 else None
    highest = peak(reference) if limit.peak is None else limit.peak
    if is_float(tensor.dtype):
        judged = _floats(want, have, limit, highest)
        changes = {"top1_same": _top1(whole, have) if common == 1 and judged.finite else None}
    else:
        judged, changes = _whole(want, have, limit), {}
    return _Judged(**{**vars(judged), **changes, "values_in_all": total})


def _flat(tensor: TensorFile, answer: Answer) -> tuple[AnyArray, int] | str:
    """An answer's elements in C order and their stride, or what is wrong with it."""
    total = elements(tensor.shape)
    values, stride = answer if isinstance(answer, Sampled) else (answer, 1)
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        return "has a stride that is none"
    typed = isinstance(values, np.ndarray)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        return "is no list of numbers"
    kinds = "f" if is_float(tensor.dtype) else "iub"
    if array.size and array.dtype.kind not in (
        kinds if typed else "fiu" if kinds == "f" else "iubf"
    ):
        return f"is of {array.dtype}, not {tensor.dtype}" if typed else "is no list of numbers"
    if not isinstance(answer, Sampled):
        if array.shape != tensor.shape:
            return f"has shape {list(array.shape)[:16]} instead of {list(tensor.shape)}"
    elif array.ndim != 1 or array.size != -(-total // stride):
        return f"has {array.size} values instead of {-(-total // stride)} at stride {stride}"
    return array.reshape(-1), stride


def _floats(want: AnyArray, have: AnyArray, limit: AnswerLimit, highest: float) -> _Judged:
    want, have = want.astype(np.float64), have.astype(np.float64)
    if not np.isfinite(want).all() or not comparable(want, have):
        nans, infinities = int(np.isnan(have).sum()), int(np.isinf(have).sum())
        what = f"NaN at {nans}" if nans else f"infinite at {infinities}"
        note = f"is {what} of {have.size} places"
        if not np.isfinite(want).all():
            note = "cannot be judged: the reference in the bundle is not finite"
        return _Judged(passed=False, values_in_all=0, values=have.size, finite=False, note=note)
    found = distance(want, have)
    psnr = psnr_db(want, have, highest)
    passed = limit.min_psnr_db is None or psnr >= limit.min_psnr_db
    if limit.max_abs is not None and limit.min_psnr_db is not None:
        passed = passed and found.largest <= limit.max_abs * max(1.0, highest)
    note = "" if passed else f"differs: {psnr:.1f} dB, max abs {found.largest:.1e}"
    return _Judged(
        passed=passed,
        values_in_all=0,
        values=have.size,
        psnr_db=psnr,
        max_abs=found.largest if math.isfinite(found.largest) else None,
        cosine=cosine(want, have),
        note=note,
    )


def _whole(want: AnyArray, have: AnyArray, limit: AnswerLimit) -> _Judged:
    """Whole numbers and truth values: where they are equal."""
    unequal = want != have
    share = float(unequal.mean()) if want.size else 0.0
    numbers = want.astype(np.float64), have.astype(np.float64)
    finite = comparable(*numbers)
    passed = finite and (limit.min_psnr_db is None or share <= limit.differing)
    return _Judged(
        passed=passed,
        values_in_all=0,
        values=have.size,
        psnr_db=psnr_db(*numbers) if finite else None,
        max_abs=distance(*numbers).largest if finite else None,
        cosine=cosine(*numbers) if finite else None,
        equal_share=1.0 - share,
        finite=finite,
        note=f"{share:.2%} of its whole numbers differ" if share else "",
    )


def _top1(reference: AnyArray | None, have: AnyArray) -> bool | None:
    """Whether (1, classes) scores have their largest at the same place; None for other outputs."""
    if reference is None or reference.ndim != 2 or reference.shape[0] != 1:
        return None
    return bool(reference.argmax() == have.argmax()) if reference.shape[1] > 1 else None
