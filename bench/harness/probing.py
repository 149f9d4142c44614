"""Probes: their inputs from files, their answers as events carry them."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.files import read_small
from care_mobile.tensors import NUMBER_BYTES

from ..protocol.arithmetic import answer_stride
from ..protocol.events import Answer
from ..protocol.plan import Probe, ProbeTensor
from .tools import CellFailure

AnyArray = NDArray[Any]


def read_inputs(probe: Probe, folder: Path) -> dict[str, AnyArray]:
    """A probe's inputs by name, from files below `folder`.

    Raises:
        CellFailure: `bad-probe` if a file is not there or is not the tensor.
    """
    return {tensor.name: _read(tensor, folder) for tensor in probe.inputs}


def _read(tensor: ProbeTensor, folder: Path) -> AnyArray:
    if tensor.dtype not in NUMBER_BYTES:
        raise CellFailure("bad-probe", f"{tensor.path}: {tensor.dtype} is no type of numbers")
    wanted = math.prod(tensor.shape) * NUMBER_BYTES[tensor.dtype]
    try:
        content = read_small(folder / tensor.path, wanted)
    except OSError as error:
        raise CellFailure("bad-probe", f"{tensor.path}: {error.strerror}") from error
    if len(content) != wanted:
        raise CellFailure("bad-probe", f"{tensor.path} has {len(content)} bytes, not {wanted}")
    if tensor.dtype == "bool":  # other bytes than 0 and 1 are no truth values to numpy
        flat: AnyArray = np.frombuffer(content, np.uint8) != 0
    else:
        kind = np.dtype(tensor.dtype)
        flat = np.frombuffer(content, kind.newbyteorder("<")).astype(kind)
    return flat.reshape(tensor.shape)


def answers_of(named: Iterable[tuple[str, AnyArray]], limit: int) -> list[Answer]:
    """Outputs by name as events carry them, at most `limit` elements of each."""
    return [_answer(name, np.asarray(array), limit) for name, array in named]


def _answer(name: str, array: AnyArray, limit: int) -> Answer:
    stride = answer_stride(array.size, limit)
    sample = array.reshape(-1)[::stride]
    content = sample.astype(array.dtype.newbyteorder("<"), order="C").tobytes()
    return Answer(
        name=name,
        dtype=array.dtype.name,
        shape=array.shape,
        stride=stride,
        data=base64.b64encode(content).decode(),
    )
