"""The probes that go into a bundle, and the limits by which answers to them are judged later.

After the bundle nobody has the network, so nobody can ask what rounding does to it, as parity does.
Where a verified bundle stood by such a reason, the limit that is stored follows what it reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.agreement import MAX_DB, peak
from care_mobile.answers import (
    AnswerCheck,
    judge_answers,
    read_tensor,
    sampling_stride,
    tensor_bytes,
)
from care_mobile.bundle import Bundle, TensorSpec
from care_mobile.probes import FOLDER, AnswerLimit, Probe, TensorFile
from care_mobile.tensors import MAX_RANK, NUMBERS

from .judgement import Threshold
from .parity import Arrays, limit_of

STORED = ("photos", "seeded")
"""The most ordinary set first: it stays where there is room for one only."""
MAX_BYTES = 32 * 2**20
MAX_OUTPUT_ELEMENTS = 65_536
"""Of an output beyond these a sample is stored: as many as a harness sends back by default."""

_MARGIN = 2.0
"""How much further than here an answer may be elsewhere, where it was beyond the plain limit."""


@dataclass(frozen=True)
class Stored:
    """What was written, and what was not and why."""

    probes: tuple[Probe, ...]
    left_out: dict[str, str]


class _LeftOut(Exception):
    """The reason why a probe is not stored."""


@dataclass(frozen=True)
class _File:
    tensor: TensorFile
    content: bytes


def store(
    folder: Path,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    asked: Mapping[str, Sequence[NDArray[Any]]],
    reference: Mapping[str, Arrays],
    table: Mapping[str, Threshold],
) -> Stored:
    """Write the first input of each of the `STORED` sets and the reference's answers to it.

    Args:
        folder: of the bundle that is being written.
        inputs, outputs: of the bundle; outputs that are arrays.
        asked: by probe set, for every input its stack (n, ...).
        reference: by probe set, for every output its stack (n, ...).
        table: limits of the target and precision, by kind of probe.

    Raises:
        OSError: if the disk refuses.
    """
    probes: list[Probe] = []
    left_out: dict[str, str] = {}
    room = MAX_BYTES
    for name in STORED:
        if name not in asked:
            left_out[name] = "the network was not asked it"
            continue
        try:
            given = [
                _input(f"{name}.input-{i}.bin", spec, stack[:1])
                for i, (spec, stack) in enumerate(zip(inputs, asked[name], strict=True))
            ]
            answers = [
                _output(f"{name}.output-{i}.bin", spec, stack[0])
                for i, (spec, stack) in enumerate(zip(outputs, reference[name], strict=True))
            ]
            size = sum(len(file.content) for file in (*given, *answers))
            if size > room:
                raise _LeftOut(f"has {size} bytes, where {room} of {MAX_BYTES} are left")
        except _LeftOut as reason:
            left_out[name] = str(reason)
            continue
        room -= size
        _write(folder, (*given, *answers))
        probes.append(
            Probe(
                name=name,
                inputs=tuple(file.tensor for file in given),
                outputs=tuple(file.tensor for file in answers),
                limits=tuple(_limit(limit_of(table, name), stack) for stack in reference[name]),
            )
        )
    return Stored(tuple(probes), left_out)


def _write(folder: Path, files: Iterable[_File]) -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    for file in files:
        (folder / file.tensor.file).write_bytes(file.content)


def _input(file: str, spec: TensorSpec, array: NDArray[Any]) -> _File:
    """One input (1, ...) as the bundle takes it; pixels as floats, rounded before they were asked.

    A cast to half precision is part of the bundle: the reference was asked what is not cast, as in
    parity.
    """
    dtype = "float32" if spec.kind == "image" else spec.dtype
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if not np.isfinite(cast).all():
        raise _LeftOut(f"input {spec.name!r} is not finite in {dtype}")
    return _file(file, spec, cast)


def _output(file: str, spec: TensorSpec, answer: NDArray[Any]) -> _File:
    """One answer of the reference, without its batch; in the bundle's shape, which may have it."""
    batched = len(spec.shape) == answer.ndim + 1
    array = answer[None] if batched else answer
    if not np.isfinite(array).all():
        raise _LeftOut(f"output {spec.name!r} of the network is not finite")
    return _file(file, spec, array, sampling_stride(array.size, MAX_OUTPUT_ELEMENTS))


def _file(file: str, spec: TensorSpec, array: NDArray[Any], stride: int = 1) -> _File:
    dtype = str(array.dtype)
    if dtype not in NUMBERS or array.ndim > MAX_RANK or not spec.takes(array.shape):
        shape = "x".join(map(str, array.shape)) or "scalar"
        raise _LeftOut(f"{spec.name!r} is {shape} of {dtype} in the network, not as in the file")
    tensor = TensorFile(
        name=spec.name, dtype=dtype, shape=array.shape, file=f"{FOLDER}/{file}", stride=stride
    )
    return _File(tensor, tensor_bytes(array.reshape(-1)[::stride]))


def _limit(threshold: Threshold, stack: NDArray[Any]) -> AnswerLimit:
    """Parity's limit on the set; PSNR is against the peak of all its answers there too."""
    return AnswerLimit(
        min_psnr_db=threshold.min_psnr_db,
        peak=peak(stack),
        max_abs=threshold.max_abs,
        differing=threshold.differing,
    )


def as_reached(
    bundle: Bundle, probes: Sequence[Probe], answered: Mapping[str, Arrays]
) -> tuple[Probe, ...]:
    """Probes whose limits hold for a bundle that was verified.

    Args:
        answered: its answers by probe set, for every array of its manifest a stack (n, ...).
    """
    return tuple(_reached(bundle, probe, answered[probe.name]) for probe in probes)


def _reached(bundle: Bundle, probe: Probe, answered: Arrays) -> Probe:
    answers = {
        spec.name: stack[0] for spec, stack in zip(bundle.manifest.arrays, answered, strict=True)
    }
    limits = []
    for tensor, limit in zip(probe.outputs, probe.limits, strict=True):
        alone = probe.model_copy(update={"outputs": (tensor,), "limits": (limit,)})
        answer = np.reshape(answers[tensor.name], tensor.shape)
        found = judge_answers(
            alone, {tensor.name: read_tensor(bundle, tensor)}, {tensor.name: answer}
        )
        limits.append(limit if found.passed else _wider(limit, found))
    return probe.model_copy(update={"limits": tuple(limits)})


def _wider(limit: AnswerLimit, found: AnswerCheck) -> AnswerLimit:
    """A limit `_MARGIN` times as far as what was found; unchanged if that is no distance."""
    if found.equal_share is not None:
        share = 1.0 - found.equal_share
        differing = min(_MARGIN * share, max(share, 0.5))
        return limit.model_copy(
            update={
                "differing": differing,
                "note": f"{share:.2%} differed at export, where rounding explained it; "
                f"the limit of the precision is {limit.differing:.2%}",
            }
        )
    if found.psnr_db is None or found.max_abs is None or limit.min_psnr_db is None:
        return limit
    highest = limit.peak or 0.0
    psnr = max(-MAX_DB, found.psnr_db - 20.0 * math.log10(_MARGIN))
    far = _MARGIN * found.max_abs / max(1.0, highest)
    # Nothing is a share of a peak of zero: the distance alone decides there.
    judged = limit.max_abs is not None or highest == 0.0
    return limit.model_copy(
        update={
            "min_psnr_db": min(limit.min_psnr_db, psnr),
            "max_abs": max(limit.max_abs or 0.0, far) if judged else None,
            "note": f"reached {found.psnr_db:.1f} dB at export, max abs {found.max_abs:.1e}; "
            f"the limit of the precision is {limit.min_psnr_db:g} dB",
        }
    )
