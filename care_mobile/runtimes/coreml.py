"""Core ML bundles on Apple's framework, on a Mac only.

Never run on hardware by this project's own CI, which has no Mac.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..errors import BundleError, MissingDependencyError, RuntimeFailure, unknown_name
from ..quiet import quiet
from ..requirements import Availability, check, load, version
from .base import AnyArray, LoadedModel, RuntimeOptions, ordered_inputs

LABELS_FILE = "labels.txt"
"""Where bundles had their class names, one per line, before manifests had them."""


UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "npu": "CPU_AND_NE"}
"""Names of coremltools' `ComputeUnit`. Core ML keeps the cpu for what the other does not take."""


class CoreMLModel:
    """An MLModel on the compute units that were asked for."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions | None = None) -> None:
        unit = (options or RuntimeOptions()).unit
        if unit not in UNITS:
            raise unknown_name("compute unit", unit, UNITS)
        self._units = UNITS[unit]
        with quiet():
            tools: Any = load("coremltools", "export")
            try:
                self._model = tools.models.MLModel(
                    str(bundle.model_path),
                    compute_units=getattr(tools.ComputeUnit, self._units),
                )
            except Exception as error:
                raise RuntimeFailure(f"{bundle.name}: Core ML refuses it: {error}") from error
        self._bundle = bundle
        self._labels = read_labels(bundle)

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        return in_order(self.bind(inputs)(), self._bundle, self._labels)

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], dict[str, Any]]:
        arrays = ordered_inputs(self._bundle, inputs)
        specs = self._bundle.manifest.inputs
        feed = {
            spec.name: _as_image(array) if spec.kind == "image" else array
            for spec, array in zip(specs, arrays, strict=True)
        }
        return partial(self._infer, feed)

    def _infer(self, feed: dict[str, Any]) -> dict[str, Any]:
        try:
            outputs: dict[str, Any] = self._model.predict(feed)
        except Exception as error:
            raise RuntimeFailure(f"{self._bundle.name}: Core ML failed: {error}") from error
        return outputs

    def describe(self) -> dict[str, str]:
        return {
            "runtime": "coreml",
            "version": version("coremltools") or "unknown",
            "backend": "Core ML, all compute units"
            if self._units == "ALL"
            else f"Core ML, {self._units}",
        }


def read_labels(bundle: Bundle) -> list[str]:
    """Class names of a classifier's bundle in the network's order; none for others.

    Raises:
        BundleError: if they are no text.
    """
    # Only what the manifest lists was checked when the bundle was opened.
    if bundle.manifest.labels or LABELS_FILE not in bundle.manifest.files:
        return list(bundle.manifest.labels)
    try:
        return (bundle.path / LABELS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{bundle.name}: {LABELS_FILE} cannot be read: {error}",
            "export it again with care-export",
        ) from error


def in_order(outputs: Mapping[str, Any], bundle: Bundle, labels: list[str]) -> list[AnyArray]:
    """Core ML's outputs by name -> arrays in the manifest's order; scores by class (1, classes)."""
    if labels:
        scores = next(value for value in outputs.values() if isinstance(value, dict))
        return [np.asarray([[scores[label] for label in labels]], np.float32)]
    return [np.asarray(outputs[spec.name]) for spec in bundle.manifest.arrays]


def _as_image(array: AnyArray) -> Any:
    """(1, C, H, W) in 0..255 -> a PIL image, which Core ML's image inputs take."""
    from PIL import Image

    pixels = np.clip(np.rint(array[0]), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0))


class CoreMLRuntime:
    """See the module's docstring."""

    name = "coreml"
    modules: tuple[str, ...] = ("coremltools",)
    takes_threads = False

    def availability(self) -> Availability:
        if sys.platform != "darwin":
            return Availability(False, "Apple's framework runs on macOS only", "run this on a Mac")
        return check(("coremltools",), "export")

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        found = self.availability()
        if not found.usable:
            raise MissingDependencyError(f"Core ML: {found.detail}", found.remedy)
        return CoreMLModel(bundle, options)
