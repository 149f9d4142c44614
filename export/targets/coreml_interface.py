"""Inputs and outputs of a `.mlpackage`, as its own description has them."""

from __future__ import annotations

import numpy as np

from care_mobile.bundle import TensorSpec
from care_mobile.coreml import Feature, MLPackage
from care_mobile.coreml.types import NUMPY, TensorType
from care_mobile.errors import TargetError

from .base import LowerJob
from .interface import check_interface

Specs = tuple[TensorSpec, ...]
_PLANES = {"grayscale": 1, "RGB": 3, "BGR": 3}


def interface(package: MLPackage, job: LowerJob) -> tuple[Specs, Specs]:
    """Inputs and outputs of a package that was made for `job`.

    Raises:
        TargetError: if they are not those that were asked for.
    """
    inputs = tuple(_spec(feature, package) for feature in package.inputs)
    outputs = tuple(_spec(feature, package) for feature in package.outputs)
    check_interface("inputs", job.inputs, inputs)
    check_interface("outputs", _classifier(job) if job.options.labels else job.outputs, outputs)
    return inputs, outputs


def _classifier(job: LowerJob) -> Specs:
    """What a classifier with labels gives instead of its scores, in coremltools' names."""
    (scores,) = job.outputs
    changed = {"name": "classLabel_probs", "kind": "dictionary"}
    label = TensorSpec(name="classLabel", shape=(), dtype="string", kind="string")
    return label, scores.model_copy(update=changed)


def _spec(feature: Feature, package: MLPackage) -> TensorSpec:
    name, kind = feature.name, feature.kind
    if kind == "tensor":
        shape: tuple[int | None, ...] = _computed(package, name) if not feature.shape else ()
        shape = shape or feature.shape
        if feature.flexible:
            shape = (None,) * len(shape)
        if feature.dtype in NUMPY:
            return TensorSpec(name=name, shape=shape, dtype=np.dtype(NUMPY[feature.dtype]).name)
    if kind == "image" and feature.dtype in _PLANES:
        planes = _PLANES[feature.dtype]
        return TensorSpec(name=name, shape=(1, planes, *feature.shape), dtype="uint8", kind="image")
    if kind == "string":
        return TensorSpec(name=name, shape=(), dtype="string", kind="string")
    if kind == "dictionary" and name == package.scores:
        return TensorSpec(name=name, shape=(1, _classes(package)), kind="dictionary")
    raise TargetError(f"the file has {name!r} as {kind} {feature.dtype}, which no bundle holds")


def _computed(package: MLPackage, name: str) -> tuple[int | None, ...]:
    """The shape that the program computes, where the description gives none: of a scalar."""
    constant = package.main.constants.get(name)
    found = constant.type if constant else package.main.types().get(name)
    return found.shape or () if isinstance(found, TensorType) else ()


def _classes(package: MLPackage) -> int:
    """The number of labels in the program."""
    last = next((o for o in package.main.operations if o.type == "classify"), None)
    return len(last.constant("classes")) if last else 0
