"""Runtimes: ways to run a bundle on this machine. A new one is a file here and a line below."""

from __future__ import annotations

from ..errors import unknown_name
from .base import LoadedModel, Runtime, RuntimeOptions
from .coreml import CoreMLRuntime
from .coreml_interpreter import CoreMLInterpreter
from .executorch import ExecuTorchRuntime
from .onnx_declared import OnnxDeclared
from .onnxruntime import OnnxRuntime

RUNTIMES: tuple[Runtime, ...] = (
    OnnxRuntime(),
    ExecuTorchRuntime(),
    CoreMLRuntime(),
    CoreMLInterpreter(),
    OnnxDeclared(),
)

__all__ = ["RUNTIMES", "LoadedModel", "Runtime", "RuntimeOptions", "get_runtime"]


def get_runtime(name: str) -> Runtime:
    """The runtime called `name`.

    Raises:
        UsageError: if there is none.
    """
    for runtime in RUNTIMES:
        if runtime.name == name:
            return runtime
    raise unknown_name("runtime", name, [runtime.name for runtime in RUNTIMES])
