"""Probes in a bundle: inputs and the reference network's answers, as raw tensors.

Whatever runs the bundle, wherever, can be asked these and be judged (`answers.py`). A tensor is a
file of its elements, little-endian, in C order, without a header.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from .frozen import Frozen, Name
from .tensors import (
    MAX_ELEMENTS,
    MAX_INPUT_ELEMENTS,
    MAX_RANK,
    NUMBER_BYTES,
    NUMBERS,
    Side,
    elements,
)

FOLDER = "probes"
"""Where they lie in a bundle. Files in it are never part of what is run."""

MAX_PROBES = 16
MAX_TENSORS = 256
_MAX_PATH = 1024

Number = Annotated[float, Field(allow_inf_nan=False)]


class TensorFile(Frozen):
    """A tensor in a file of the bundle.

    `stride` is 1 if all of it is there; else the file holds elements 0, stride, 2 stride, ... of
    the tensor taken flat in C order.
    """

    name: Name
    dtype: str
    shape: tuple[Side, ...] = Field(max_length=MAX_RANK)
    file: str = Field(max_length=_MAX_PATH)
    stride: int = Field(1, ge=1, le=MAX_ELEMENTS)

    @field_validator("dtype")
    @classmethod
    def _known(cls, dtype: str) -> str:
        if dtype not in NUMBERS:
            raise ValueError("no type of numbers")
        return dtype

    @field_validator("file")
    @classmethod
    def _in_its_folder(cls, file: str) -> str:
        if not in_folder(file):
            raise ValueError(f"a probe's file lies in {FOLDER}/")
        return file

    @model_validator(mode="after")
    def _of_this_world(self) -> TensorFile:
        if elements(self.shape) > MAX_ELEMENTS or self.count > MAX_INPUT_ELEMENTS:
            raise ValueError(f"a probe's file has at most {MAX_INPUT_ELEMENTS} elements")
        return self

    @property
    def count(self) -> int:
        """Elements in the file."""
        return -(-elements(self.shape) // self.stride)

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self.count * NUMBER_BYTES[self.dtype]


class AnswerLimit(Frozen):
    """How far an answer may be from one output of the reference.

    Attributes:
        min_psnr_db: of numbers in floating point, against `peak`. None: reported, not judged.
        peak: the output's largest magnitude on all inputs of the probe set; None is that of the
            reference itself.
        max_abs: relative to `peak` where that exceeds one. None: not judged.
        differing: share of whole numbers and truth values that may differ.
        note: why this is less strict than the export's limit for the target and precision.
    """

    min_psnr_db: Number | None = None
    peak: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_abs: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    differing: Annotated[float, Field(ge=0, le=1)] = 0.0
    note: str = ""


class Probe(Frozen):
    """One input (batch 1) and what the eager float32 network answers to it before any pass.

    Attributes:
        name: of the probe set it is from.
        inputs: in the manifest's order; an image as float32 pixels, whole numbers in 0 to 255.
        outputs: of the manifest's `arrays` those that are stored, in the network's element types.
        limits: one for each of `outputs`.
    """

    name: Name
    inputs: tuple[TensorFile, ...] = Field(min_length=1, max_length=MAX_TENSORS)
    outputs: tuple[TensorFile, ...] = Field(min_length=1, max_length=MAX_TENSORS)
    limits: tuple[AnswerLimit, ...] = Field(max_length=MAX_TENSORS)

    @model_validator(mode="after")
    def _consistent(self) -> Probe:
        if len(self.limits) != len(self.outputs):
            raise ValueError("a probe has one limit for each output")
        for tensors in (self.inputs, self.outputs):
            if len({tensor.name for tensor in tensors}) < len(tensors):
                raise ValueError("two tensors of a probe have one name")
        if any(tensor.stride > 1 for tensor in self.inputs):
            raise ValueError("a probe's input is there as a whole")
        return self

    @property
    def tensors(self) -> tuple[TensorFile, ...]:
        return self.inputs + self.outputs


def in_folder(name: str) -> bool:
    """Whether a file of a bundle lies in the probes' folder."""
    return PurePosixPath(name).parts[:1] == (FOLDER,)
