"""ExecuTorch bundles on the ExecuTorch runtime with its XNNPACK backend.

The runtime has one thread pool for the whole process. It must be sized before a method is
loaded: resizing it under a loaded XNNPACK delegate crashes the process (executorch 1.4.1).

The runtime's bindings are imported without the package `executorch.runtime`, which brings the whole
of the exporter: that alone takes longer than a round of measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import ModelFileError, RuntimeFailure
from ..quiet import quiet
from ..requirements import Availability, check, load, version
from .base import AnyArray, LoadedModel, RuntimeOptions, ordered_inputs

_BINDINGS = "executorch.extension.pybindings._portable_lib"


def _bindings() -> Any:
    load("torch", "export")  # the bindings' library needs torch's, and does not look for them
    return load(_BINDINGS, "export")


@cache
def _pool(threads: int) -> int:
    """Give the pool its size; returns it."""
    bindings = _bindings()
    if _pool.cache_info().currsize:
        return int(bindings._threadpool_get_thread_count())
    if bindings._threadpool_get_thread_count() != threads:
        bindings._unsafe_reset_threadpool(threads)
    return threads


def _size_pool(threads: int) -> None:
    size = _pool(threads)
    if size != threads:
        raise RuntimeFailure(
            f"ExecuTorch's thread pool already has {size} threads in this process",
            "measure one thread count per run",
        )


def missing_kernels(path: Path) -> list[str]:
    """Operators of a `.pte` file for which this runtime has no kernel, by name.

    Raises:
        ModelFileError: if it is no program, or damaged.
    """
    from ..inspection.pte_program import read_program

    bindings = _bindings()
    known = set(bindings._get_operator_names())
    called = {step.name for step in read_program(path).method.instructions() if step.name}
    return sorted(called - known)


def _why_refused(path: Path) -> str:
    """The operators that a file lacks; empty if that is not it, or the file is damaged."""
    try:
        missing = missing_kernels(path)
    except ModelFileError:
        return ""
    return f"it has no kernel for {', '.join(missing)}" if missing else ""


class ExecuTorchModel:
    """A loaded `forward` method."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self._torch: Any = load("torch", "export")
        self._bundle = bundle
        self._threads = options.threads
        with quiet():
            bindings = _bindings()
            _size_pool(options.threads)
            try:
                # The program must outlive the method.
                self._program = bindings._load_program(
                    str(bundle.model_path),
                    program_verification=bindings.Verification.InternalConsistency,
                )
                self._method = self._program.load_method("forward")
            except Exception as error:
                reason = _why_refused(bundle.model_path) or str(error)
                raise RuntimeFailure(f"{bundle.name}: ExecuTorch refuses it: {reason}") from error

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        return [output.numpy() for output in self.bind(inputs)()]

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], Sequence[Any]]:
        tensors = [self._torch.from_numpy(a) for a in ordered_inputs(self._bundle, inputs)]
        return partial(self._infer, tensors)

    def _infer(self, tensors: list[Any]) -> Sequence[Any]:
        try:
            outputs: Sequence[Any] = self._method(tensors)
        except Exception as error:
            raise RuntimeFailure(f"{self._bundle.name}: ExecuTorch failed: {error}") from error
        return outputs

    def describe(self) -> dict[str, str]:
        return {
            "runtime": "executorch",
            "version": version("executorch") or "unknown",
            "backend": "XNNPACK",
            "threads": str(self._threads),
        }


class ExecuTorchRuntime:
    """See the module's docstring."""

    name = "executorch"
    modules: tuple[str, ...] = ("torch", _BINDINGS)
    takes_threads = True

    def availability(self) -> Availability:
        return check(("executorch", "torch"), "export")

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        return ExecuTorchModel(bundle, options)
