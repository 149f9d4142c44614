"""Packages to damage: a small one, and its model as coremltools' own message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_programs import mb, write_package

from care_mobile.quiet import quiet

with quiet():
    from coremltools.proto import MIL_pb2, Model_pb2

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")
WEIGHT = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 12)


def small(path: Path, ios: int = 17) -> Path:
    """A package with a weight file: y = x + weight."""
    x = {"x": np.zeros((2, 12), np.float32)}
    return write_package(path, lambda x: mb.add(x=x, y=WEIGHT), x, ios)


def edit(path: Path, change: Callable[[Any], Any]) -> Path:
    """Change the model of the package through coremltools' message."""
    model = Model_pb2.Model.FromString((path / MODEL).read_bytes())
    change(model)
    (path / MODEL).write_bytes(model.SerializeToString())
    return path


def main_block(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def tensor_type(code: int, *shape: int) -> Any:
    """A `ValueType`."""
    kind = MIL_pb2.ValueType()
    kind.tensorType.dataType = code
    kind.tensorType.rank = len(shape)
    for size in shape:
        kind.tensorType.dimensions.add().constant.size = size
    return kind


def tensor_value(code: int, *shape: int, **members: Any) -> Any:
    """A `Value` with a tensor: `ints=[1, 2]`, `bytes=b"..."`, ..."""
    value = MIL_pb2.Value(type=tensor_type(code, *shape))
    for name, values in members.items():
        member = getattr(value.immediateValue.tensor, name)
        if name == "bytes":
            member.values = values
        else:
            member.values.extend(values)
            member.SetInParent()
    return value
