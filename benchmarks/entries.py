"""The bundles of one comparison: ours, the naive ones, and some layers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from care_mobile.bundle import Weights
from care_mobile.errors import TargetError
from care_mobile.export.pipeline import export_bundles
from care_mobile.export.request import DEFAULT_RESOLUTION, ExportRequest
from care_mobile.export.targets import get_target
from care_mobile.inputs import Preprocessing
from care_mobile.models.catalog import create_model, slug
from care_mobile.models.checkpoint import load_weights

from .naive import ALONE, CONVERTERS, Converter, Examples, write_bundle
from .parts import Alone, Layer, Part, layers
from .results import Role

WEIGHTS = "random:0"
PARTS = {"onnx": (Part.POINTWISE,), "executorch": tuple(Part)}
"""Measured alone: the bound, and more where the runtime gives no times by operator."""


class Entry(NamedTuple):
    """A bundle to measure. `seconds` is what its export took."""

    path: Path
    role: Role
    summary: str
    precision: str
    seconds: float


class Failed(NamedTuple):
    """A bundle there is none of, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Subject:
    """A network as published, in evaluation mode, with random weights."""

    name: str
    model: nn.Module
    weights: Weights
    preprocessing: Preprocessing
    examples: Examples
    layers: dict[Part, list[Layer]]

    @classmethod
    def load(cls, name: str) -> Subject:
        """Build the network called `name`.

        Raises:
            CareError: if it cannot be built or does not run.
        """
        model = create_model(name).eval().requires_grad_(False)
        preprocessing = ExportRequest().preprocessing(DEFAULT_RESOLUTION)
        weights = load_weights(model, WEIGHTS, preprocessing=preprocessing)
        size = preprocessing.resolution
        example = torch.zeros(1, preprocessing.channels, size.height, size.width)
        found = layers(model, example)
        return cls(name, model, weights, preprocessing, (example,), found)


def make_entries(
    subject: Subject,
    target: str,
    precisions: Sequence[str],
    folder: Path,
    on_step: Callable[[str, float], None],
) -> tuple[list[Entry], list[Failed]]:
    """Export everything that is compared on the runtime of `target`, one after the other.

    Raises:
        CareError: if a naive export or our fp32 one fails.
    """
    chosen = [p for p in precisions if p in get_target(target).precisions]
    makers: list[tuple[str, Callable[[], Entry | Failed]]] = [
        *((c.summary, partial(_naive, subject, c, folder)) for c in CONVERTERS[target]),
        *(
            (part.value, partial(_alone, subject, part, ALONE[target], folder))
            for part in PARTS[target]
            if part in subject.layers
        ),
        *((f"care-export {p}", partial(_ours, subject, target, p, folder)) for p in chosen),
    ]
    entries: list[Entry] = []
    failed: list[Failed] = []
    for done, (what, make) in enumerate(makers):
        on_step(f"{subject.name} {target}: {what}", done / len(makers))
        made = make()
        if isinstance(made, Entry):
            entries.append(made)
        else:
            failed.append(made)
    return entries, failed


def _naive(subject: Subject, converter: Converter, folder: Path) -> Entry:
    path = folder / f"{slug(subject.name)}-{converter.target}-{converter.name}"
    seconds = write_bundle(
        path,
        converter,
        subject.model,
        subject.examples,
        subject.name,
        subject.weights,
        subject.preprocessing,
    )
    return Entry(path, Role.NAIVE, converter.summary, "fp32", seconds)


def _alone(subject: Subject, part: Part, converter: Converter, folder: Path) -> Entry:
    kind = part.name.lower()
    network = Alone(subject.layers[part]).eval()
    path = folder / f"{slug(subject.name)}-{converter.target}-{kind}-alone"
    seconds = write_bundle(
        path,
        converter,
        network,
        network.examples(),
        f"{subject.name} {kind} alone",
        subject.weights,
        subject.preprocessing,
    )
    return Entry(path, Role.PART, part.value, "fp32", seconds)


def _ours(subject: Subject, target: str, precision: str, folder: Path) -> Entry | Failed:
    request = ExportRequest(
        models=(subject.name,),
        targets=(target,),
        weights=WEIGHTS,
        precisions=(precision,),
        output=folder,
        # Speed is measured whatever the accuracy; the document says which it was.
        keep_failed=True,
    )
    report = export_bundles(request)
    (made,) = report.bundles
    if made.path is not None:
        return Entry(made.path, Role.OURS, f"care-export {precision}", precision, report.seconds)
    assert made.failure is not None
    if precision == "fp32":
        raise TargetError(made.failure.message, made.failure.hint)
    return Failed(made.name, made.failure.message)
