"""Names and values of a request, checked before torch is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from care_mobile.errors import UsageError
from care_mobile.evaluation.names import check_names
from care_mobile.inputs import InputRange, Resolution
from care_mobile.models.catalog import (
    AS_BUILT,
    CARE_CLASSES,
    CARE_MIN_SIDE,
    CARE_MODELS,
    check_name,
    slug,
)

from .targets import check_precisions
from .targets.coreml import MAX_IOS, MIN_IOS
from .targets.onnx import MAX_OPSET, MIN_OPSET

if TYPE_CHECKING:
    from .request import ExportRequest

_MAX_STD = 4.0
"""A deviation above it is one of pixels in 0..255: no network wants 0..1 in less than a quarter."""


def check(request: ExportRequest) -> None:
    """Raise a UsageError for the first thing wrong with the request."""
    check_precisions(request.chosen_targets(), request.precisions, "all" in request.targets)
    for model in request.models:
        _check_model(model, request.resolutions)
    _check_weights(request)
    _check_distinct([slug(model) for model in dict.fromkeys(request.models)])
    _check_data(request)
    _check_normalization(request)
    _check_options(request)
    _check_labels(request)
    if request.no_overwrite:
        check_nothing_there([request.output / name for name in request.bundle_names()])


def check_nothing_there(paths: Sequence[Path]) -> None:
    """Raise a UsageError if something is at one of the places of new bundles."""
    there = [path.name for path in paths if path.exists() or path.is_symlink()]
    if there:
        verb = "is" if len(there) == 1 else "are"
        raise UsageError(
            f"{', '.join(there)} {verb} in {paths[0].parent} already",
            "choose another --output, or leave --no-overwrite out",
        )


def check_labels(labels: Sequence[str], classes: int, whose: str) -> None:
    """Raise a UsageError unless there is one label per class.

    Args:
        whose: the network, or the option, that says how many classes there are.
    """
    if len(labels) != classes:
        raise UsageError(
            f"--labels has {len(labels)} names for the {classes} classes of {whose}",
            "give one per class, in the network's order",
        )


def _check_model(name: str, resolutions: Sequence[Resolution]) -> None:
    check_name(name)
    for size in resolutions:
        if name in CARE_MODELS and min(size.width, size.height) < CARE_MIN_SIDE:
            raise UsageError(
                f"resolution {size} is too small for {name}", f"at least {CARE_MIN_SIDE} px a side"
            )


def _check_weights(request: ExportRequest) -> None:
    weights = request.weights
    fresh = [model for model in request.models if model in CARE_MODELS]
    if weights == AS_BUILT and fresh:
        raise UsageError(
            f"{fresh[0]} is built without trained weights", "name a checkpoint, or random:0"
        )
    if weights is None or weights == AS_BUILT or weights.startswith("random:"):
        return
    if len(set(request.models)) > 1:
        raise UsageError(
            "one weights file fits one model", "export each model with its file in its own call"
        )


def _check_distinct(names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(
            f"two models would both be called {twice.pop()}", "export them in two calls"
        )


def _check_data(request: ExportRequest) -> None:
    if request.data is None:
        given = {
            "--data-limit": request.data_limit,
            "--max-drop": request.max_drop_points,
            "--classes": request.classes,
        }
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} needs labelled images", "add --data FOLDER")
    elif request.features_only:
        raise UsageError(
            "--data needs a classifier, not --features-only", "leave out one of the two"
        )


def _check_normalization(request: ExportRequest) -> None:
    for option, values in (("--mean", request.mean), ("--std", request.std)):
        if values is not None:
            _check_values(option, values, request.in_channels or 3)
    if (request.mean is None) != (request.std is None):
        there, other = ("mean", "std") if request.std is None else ("std", "mean")
        raise UsageError(
            f"--{there} without --{other}: the two belong together",
            f"give --{other} too, or leave both out for ImageNet's",
        )


def _check_values(option: str, values: Sequence[float], channels: int) -> None:
    if len(values) != channels:
        raise UsageError(
            f"{option} has {len(values)} values for {channels} channels",
            "give one per channel, or say --in-channels",
        )
    if not all(math.isfinite(value) for value in values):
        raise UsageError(f"{option} holds a value that is no number", "write 0.5,0.5,0.5")
    low, high = (0.0, 1.0) if option == "--mean" else (0.0, _MAX_STD)
    if option == "--std" and min(values) <= 0:
        raise UsageError("--std must be positive", "it divides the pixels")
    if min(values) < low:
        raise UsageError(f"{option} {min(values):g} is below 0", "it is that of pixels in 0..1")
    if max(values) > high:
        raise UsageError(
            f"{option} {max(values):g} is that of pixels in 0..255, not in 0..1",
            f"divide by 255: {option} " + ",".join(f"{value / 255:.4g}" for value in values),
        )


def _check_options(request: ExportRequest) -> None:
    options = request.options
    if not MIN_OPSET <= options.opset <= MAX_OPSET:
        raise UsageError(
            f"--opset {options.opset} is out of range",
            f"from {MIN_OPSET} (GELU as one operator) to {MAX_OPSET}",
        )
    if not MIN_IOS <= options.min_ios <= MAX_IOS:
        raise UsageError(f"--min-ios {options.min_ios}: choose {MIN_IOS} to {MAX_IOS}")
    if options.image_input and request.input_range is not InputRange.BYTE:
        raise UsageError(
            "an image input holds values in 0..255", f"--input-range {InputRange.BYTE.value}"
        )
    if options.image_input and (request.in_channels or 3) not in (1, 3):
        raise UsageError("an image input has 1 or 3 channels")


def _check_labels(request: ExportRequest) -> None:
    labels = request.options.labels
    if not labels:
        return
    if request.features_only:
        raise UsageError(
            "--labels needs a classifier, not --features-only", "leave out one of the two"
        )
    check_names(labels, "--labels")
    if request.num_classes is not None:
        check_labels(labels, request.num_classes, f"--num-classes {request.num_classes}")
    else:
        for model in request.models:
            if model in CARE_MODELS:
                check_labels(labels, CARE_CLASSES, model)
