"""Core ML bundles on our interpreter, on any machine: for results, never for latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..errors import RuntimeFailure
from ..requirements import Availability, version
from .base import AnyArray, LoadedModel, RuntimeOptions, ordered_inputs
from .coreml import in_order, read_labels


class InterpreterModel:
    """A program in its declared types: fp16 results are rounded to fp16, sums kept in fp32."""

    def __init__(self, bundle: Bundle) -> None:
        # Here, as every --help imports the list of runtimes.
        from ..coreml import open_package
        from .interpreter import Interpreter, Numerics

        self._bundle = bundle
        self._interpreter = Interpreter(open_package(bundle.model_path), Numerics.DECLARED)
        self._labels = read_labels(bundle)
        named = {value.name for value in self._interpreter.package.main.inputs}
        if named != {spec.name for spec in bundle.manifest.inputs}:
            raise RuntimeFailure(
                f"{bundle.name}: the program's inputs are {sorted(named)}, not the manifest's",
                "export it again with care-export",
            )

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        return in_order(self.bind(inputs)(), self._bundle, self._labels)

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], dict[str, Any]]:
        specs = self._bundle.manifest.inputs
        arrays = ordered_inputs(self._bundle, inputs)
        feed = {
            # Image inputs hold whole numbers from 0 to 255, whatever was asked for.
            spec.name: np.clip(np.rint(array), 0, 255) if spec.kind == "image" else array
            for spec, array in zip(specs, arrays, strict=True)
        }
        return partial(self._interpreter.run, feed)

    def describe(self) -> dict[str, str]:
        return {
            "runtime": CoreMLInterpreter.name,
            "version": version("care-mobile") or "unknown",
            "backend": "functional interpreter in numpy; its speed says nothing about a phone",
        }


class CoreMLInterpreter:
    """See the module's docstring."""

    name = "coreml-interpreter"
    modules: tuple[str, ...] = ()
    takes_threads = False

    def availability(self) -> Availability:
        return Availability(True, "part of care-mobile")

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        return InterpreterModel(bundle)
