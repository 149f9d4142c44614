"""Inputs and outputs of an ONNX file, as its graph has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from care_mobile.bundle import TensorSpec
from care_mobile.errors import TargetError

from .base import LowerJob
from .interface import check_interface

if TYPE_CHECKING:
    import onnx

Specs = tuple[TensorSpec, ...]


def interface(path: Path, job: LowerJob) -> tuple[Specs, Specs]:
    """Inputs and outputs of a file that was made for `job`.

    Raises:
        TargetError: if they are not those that were asked for.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    held = {initializer.name for initializer in graph.initializer}
    inputs = tuple(_spec(value) for value in graph.input if value.name not in held)
    outputs = tuple(_spec(value) for value in graph.output)
    check_interface("inputs", job.inputs, inputs)
    check_interface("outputs", job.outputs, outputs)
    return inputs, outputs


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    from onnx import helper

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise TargetError(f"the file leaves open what {value.name!r} is")
    sides = tensor.shape.dim
    return TensorSpec(
        name=value.name,
        shape=tuple(side.dim_value if side.HasField("dim_value") else None for side in sides),
        dtype=helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
    )
