"""Checks of answers to probes; the noop engine's are the probe itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from ..protocol.arithmetic import answer_stride
from ..protocol.events import Answer, Checked
from ..protocol.plan import Probe, ProbeTensor
from .rounds import Absent, Finished

_BYTES = {"float16": 2, "float32": 4, "float64": 8, "bool": 1}
_BYTES |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}


def answers(found: Finished) -> str | None:
    judged = {
        cell: [probe for probe in found.plan.cells[cell].probes if probe.judged]
        for cell in found.living
    }
    if not any(judged.values()) or not found.ended:
        raise Absent
    contents = found.case.contents()
    for cell, probes in judged.items():
        for moment, wanted in (("before", probes), ("after", probes[:1])):
            events = [e for e in found.all(Checked) if (e.cell, e.moment) == (cell, moment)]
            names = [event.probe for event in events]
            if names != [probe.name for probe in wanted]:
                return f"cell {cell}, {moment}: answers to {names}"
            for event, probe in zip(events, wanted, strict=True):
                problem = _answered(event, probe, contents, found.plan.answer_elements)
                if problem is not None:
                    return f"cell {cell}, probe {probe.name}, {moment}: {problem}"
    return None


def _answered(
    event: Checked, probe: Probe, contents: Mapping[str, bytes], limit: int
) -> str | None:
    names = [answer.name for answer in event.answers]
    if names != [tensor.name for tensor in probe.inputs]:
        return f"answers are named {names}"
    for answer, tensor in zip(event.answers, probe.inputs, strict=True):
        problem = _echoed(answer, tensor, contents[tensor.path], limit)
        if problem is not None:
            return f"{answer.name}: {problem}"
    return None


def _echoed(answer: Answer, tensor: ProbeTensor, content: bytes, limit: int) -> str | None:
    if (answer.dtype, answer.shape) != (tensor.dtype, tensor.shape):
        return f"it is {answer.dtype} {list(answer.shape)}"
    size = _BYTES[tensor.dtype]
    stride = answer_stride(len(content) // size, limit)
    if answer.stride != stride:
        return f"stride {answer.stride}, not {stride}"
    if answer.data is None:
        return "there is no data"
    try:
        data = base64.b64decode(answer.data, validate=True)
    except (binascii.Error, ValueError) as error:
        return f"its data are no base64: {error}"
    step = size * stride
    if data != b"".join(content[at : at + size] for at in range(0, len(content), step)):
        return "its data are not the probe's"
    return None
