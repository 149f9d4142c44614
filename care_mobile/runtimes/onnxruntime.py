"""ONNX bundles on ONNX Runtime's CPU execution provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..bundle import Bundle
from ..errors import RuntimeFailure
from ..requirements import Availability, check, load
from .base import AnyArray, LoadedModel, RuntimeOptions, ordered_inputs

PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxRuntimeModel:
    """An InferenceSession; spinning is left on, as in the runtime's defaults."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self._ort: Any = load("onnxruntime", "bench")
        self._bundle = bundle
        self._threads = options.threads
        settings = self._ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _ERRORS_ONLY
        try:
            self._session = self._ort.InferenceSession(
                str(bundle.model_path), settings, providers=[PROVIDER]
            )
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise RuntimeFailure(f"{bundle.name}: onnxruntime refuses it: {error}") from error
        self._names = [spec.name for spec in bundle.manifest.inputs]
        self._outputs = [spec.name for spec in bundle.manifest.arrays]

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        return self.bind(inputs)()

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], list[AnyArray]]:
        feed = dict(zip(self._names, ordered_inputs(self._bundle, inputs), strict=True))
        return partial(self._infer, feed)

    def _infer(self, feed: dict[str, AnyArray]) -> list[AnyArray]:
        try:
            outputs: list[AnyArray] = self._session.run(self._outputs, feed)
        except Exception as error:
            raise RuntimeFailure(f"{self._bundle.name}: onnxruntime failed: {error}") from error
        return outputs

    def describe(self) -> dict[str, str]:
        return {
            "runtime": "onnxruntime",
            "version": self._ort.__version__,
            "backend": PROVIDER,
            "threads": str(self._threads),
        }


class OnnxRuntime:
    """See the module's docstring."""

    name = "onnxruntime"
    modules: tuple[str, ...] = ("onnxruntime",)
    takes_threads = True

    def availability(self) -> Availability:
        return check(("onnxruntime",), "bench")

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        return OnnxRuntimeModel(bundle, options)
