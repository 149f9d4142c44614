"""Small ML Programs for tests, written by coremltools' own serialiser and read by our reader.

`ct.convert` would run its optimisations over them; here the file holds what the test wrote.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.coreml import MLPackage, open_package
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter, Numerics

with quiet():
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.backend.mil.load import load as serialise
    from coremltools.converters.mil.mil import types

__all__ = ["Array", "interpret", "mb", "oracle", "package", "types", "write_package"]

Array = NDArray[Any]
Build = Callable[..., Any]
"""Given the inputs as MIL variables, by keyword, adds operations and returns the output(s)."""

_TYPES = {
    "float16": types.fp16,
    "float32": types.fp32,
    "int32": types.int32,
    "bool": types.bool,
    "int8": types.int8,
    "uint8": types.uint8,
    "int16": types.int16,
    "uint16": types.uint16,
}


def write_package(path: Path, build: Build, inputs: Mapping[str, Array], ios: int = 17) -> Path:
    """Write the program as a `.mlpackage` at `path`; `inputs` give names, shapes and types."""
    specs = {
        name: mb.TensorSpec(shape=array.shape, dtype=_TYPES[str(array.dtype)])
        for name, array in inputs.items()
    }
    target = getattr(ct.target, f"iOS{ios}")

    # mb.program takes the names of inputs from the function's parameters.
    source = f"lambda {', '.join(specs)}: build({', '.join(f'{n}={n}' for n in specs)})"
    function = eval(source, {"build": build})
    with quiet():
        program = mb.program(input_specs=list(specs.values()), opset_version=target)(function)
        program.skip_all_passes = True
        data = path / "Data" / "com.apple.CoreML"
        (data / "weights").mkdir(parents=True)
        model = serialise(program, str(data / "weights"), specification_version=target.value)
    (data / "model.mlmodel").write_bytes(model.SerializeToString())
    entries = {
        "root": {"path": "com.apple.CoreML/model.mlmodel"},
        "weights": {"path": "com.apple.CoreML/weights"},
    }
    (path / "Manifest.json").write_text(
        json.dumps({"itemInfoEntries": entries, "rootModelIdentifier": "root"})
    )
    return path


def package(build: Build, inputs: Mapping[str, Array], ios: int = 17) -> MLPackage:
    """The same, opened; its weights are no longer on disk but stay mapped once read."""
    with tempfile.TemporaryDirectory() as folder:
        return open_package(write_package(Path(folder) / "program.mlpackage", build, inputs, ios))


def interpret(
    build: Build,
    inputs: Mapping[str, Array],
    numerics: Numerics = Numerics.EXACT,
    ios: int = 17,
) -> Any:
    """Write, read and run; one array, or a list of them in the order of the outputs."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_package(Path(folder) / "program.mlpackage", build, inputs, ios)
        opened = open_package(path)
        results = Interpreter(opened, numerics).run(inputs)
        outputs = [results[name] for name in opened.main.outputs]
    return outputs[0] if len(outputs) == 1 else outputs


def oracle(build: Build, inputs: Mapping[str, Array], ios: int = 17) -> Any:
    """What coremltools' own `value_inference` says; None where it has none.

    The inputs are given as constants, which makes the builder evaluate what it can.
    """
    found: list[Any] = []
    target = getattr(ct.target, f"iOS{ios}")

    def function(unused: Any) -> Any:
        constants = {name: mb.const(val=array) for name, array in inputs.items()}
        results = build(**constants)
        found.extend(results if isinstance(results, tuple | list) else [results])
        return mb.identity(x=unused)

    with quiet():
        spec = mb.TensorSpec(shape=(1,), dtype=types.fp32)
        mb.program(input_specs=[spec], opset_version=target)(function)
    values = [None if var.val is None else np.asarray(var.val) for var in found]
    return values[0] if len(values) == 1 else values
