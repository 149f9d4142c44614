"""Inputs and outputs of a `.pte` file, as ExecuTorch reads them.

The format has places, no names: those are the exporter's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from care_mobile.bundle import TensorSpec
from care_mobile.errors import TargetError

from .base import LowerJob
from .interface import check_interface

Specs = tuple[TensorSpec, ...]
_DTYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32",
    7: "float64", 11: "bool", 15: "bfloat16",
}  # fmt: skip
"""`ScalarType` of ExecuTorch."""


def interface(path: Path, job: LowerJob) -> tuple[Specs, Specs]:
    """Inputs and outputs of a file that was made for `job`.

    Raises:
        TargetError: if they are not those that were asked for.
    """
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    method = program.metadata("forward")
    inputs = [method.input_tensor_meta(place) for place in range(method.num_inputs())]
    outputs = [method.output_tensor_meta(place) for place in range(method.num_outputs())]
    return _named("inputs", job.inputs, inputs), _named("outputs", job.outputs, outputs)


def _named(what: str, wanted: Specs, tensors: Sequence[Any]) -> Specs:
    if len(tensors) != len(wanted):
        raise TargetError(f"the file has {len(tensors)} {what}, not {len(wanted)}")
    found = tuple(
        TensorSpec(name=spec.name, shape=tuple(tensor.sizes()), dtype=_DTYPES[int(tensor.dtype())])
        for spec, tensor in zip(wanted, tensors, strict=True)
    )
    check_interface(what, wanted, found)
    return found
