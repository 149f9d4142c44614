"""One network at one resolution: built, filled, proven, captured; what all targets share."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from care_mobile.bundle import Calibration, PassReport, TensorSpec, Weights
from care_mobile.errors import OutputError, UsageError
from care_mobile.evaluation.classes import Claim
from care_mobile.inputs import Array, Preprocessing, Resolution
from care_mobile.models.catalog import create_model
from care_mobile.models.checkpoint import load_weights
from care_mobile.models.macs import count_macs, count_parameters

from .accuracy import Labelled, label
from .capture import capture, output_specs
from .checks import check_labels
from .eager import copied
from .equivalence import reparameterize
from .parity import ORDINARY, Arrays
from .quantize.calibration import BUILT_IN, built_in, from_folder, store
from .reference import Reference, answers, reference
from .reparam import Pass, further
from .reparam.attention_range import note_largest
from .request import ExportRequest
from .result import NetworkResult
from .rounding import Rounding
from .targets import Variant


@dataclass(frozen=True)
class CapturedNetwork:
    """A captured network and the reference its bundles are held against."""

    result: NetworkResult
    weights: Weights
    preprocessing: Preprocessing
    programs: dict[Variant, Path]
    outputs: dict[Variant, tuple[TensorSpec, ...]]
    truth: Reference
    rounding: Rounding
    calibration: Calibration | None = None
    calibration_file: Path | None = None
    """Its images, as `LowerJob.calibration` wants them."""
    labelled: Labelled | None = None

    def passes_for(self, target: str) -> tuple[PassReport, ...]:
        """All passes that made the program of `target`, in order."""
        return self.result.passes + self.result.target_passes.get(target, ())

    @property
    def probes(self) -> dict[str, Array]:
        """Probe sets (n, C, H, W) in the bundle's range."""
        return self.truth.inputs

    def reference_for(self, variant: Variant) -> dict[str, Arrays]:
        """The reference's outputs as `variant` presents them."""
        return {name: _presented(arrays, variant) for name, arrays in self.truth.answers.items()}

    def moved_for(self, variant: Variant, probes: str, bits: int) -> list[Arrays]:
        """What rounding makes of them; see `Rounding.moved`."""
        return [_presented(arrays, variant) for arrays in self.rounding.moved(probes, bits)]


def prepare(
    request: ExportRequest,
    name: str,
    resolution: Resolution,
    passes: Sequence[Pass],
    variants: Mapping[str, Variant],
    scratch: Path,
    on_step: Callable[[str], None],
) -> CapturedNetwork:
    """Build, fill, prove, capture: once per variant that a target, by name, asks for.

    Raises:
        CareError: for the first of these that fails.
    """
    on_step("building")
    model = create_model(name, **request.model_options()).eval()
    preprocessing = request.preprocessing(resolution)
    weights = load_weights(
        model, request.weights_for(name), request.checkpoint_entry, preprocessing
    )
    truth = reference(name, model, preprocessing, request.seed, whole=request.options.image_input)

    calibration, calibration_file = None, None
    if request.calibrates():
        on_step("reading calibration images")
        calibration_file = scratch / f"calibration-{resolution}.npz"
        calibration = _calibration(request, preprocessing, calibration_file)

    _check_classes(request, name, truth.answers)
    labelled = None
    if request.data is not None:
        on_step("answering the labelled images")
        labelled = _labelled(request, request.data, model, preprocessing, truth.answers)

    note_largest(model, _ordinary_inputs(preprocessing, truth.inputs))

    on_step("proving each reparameterization in float64")
    shared = reparameterize(
        model,
        passes,
        preprocessing,
        lively=weights.random,
        seed=request.seed,
        dynamic_batch=any(v.dynamic_batch for v in variants.values()),
    )
    added = {v: further(v.passes, passes, request.skip_passes) for v in variants.values()}
    proven = {variant: shared.then(rules) for variant, rules in added.items()}

    on_step("capturing")
    programs, outputs = {}, {}
    for index, variant in enumerate(sorted(proven, key=repr)):
        program = capture(proven[variant].model, preprocessing, variant)
        programs[variant] = scratch / f"{name.replace(':', '_')}-{resolution}-{index}.pt2"
        _save(program, programs[variant])
        outputs[variant] = output_specs(program, variant)
    result = NetworkResult(
        model=name,
        resolution=resolution,
        parameters=count_parameters(model),
        macs=count_macs(
            copied(model),
            torch.from_numpy(preprocessing.normalize(truth.inputs["zeros"])).float(),
        ),
        weights=weights.source,
        random_weights=weights.random,
        weights_entry=weights.entry,
        weights_entries=weights.entries,
        passes=shared.passes,
        target_passes={
            target: proven[variant].passes[len(passes) :]
            for target, variant in variants.items()
            if added[variant]
        },
        opaque=shared.opaque,
        proof=shared.proof,
        idle_passes=tuple(
            p.name for p in shared.passes if p.name in request.with_passes and not p.places
        ),
    )
    return CapturedNetwork(
        result,
        weights,
        preprocessing,
        programs,
        outputs,
        truth,
        Rounding(copied(model), preprocessing, truth.inputs),
        calibration,
        calibration_file,
        labelled,
    )


def _check_classes(request: ExportRequest, name: str, reference: Mapping[str, Arrays]) -> None:
    """As many classes as were asked for, and one label for each that the network really has."""
    scores = reference["zeros"]
    classifies = len(scores) == 1 and scores[0].ndim == 2
    asked = request.num_classes
    if asked is not None and classifies and scores[0].shape[1] != asked:
        raise UsageError(
            f"--num-classes {asked} does nothing for {name}: it has {scores[0].shape[1]} classes",
            "leave it out, or have the factory take num_classes",
        )
    if not request.options.labels:
        return
    if not classifies:
        raise UsageError(
            f"--labels needs one output of scores per class, which {name} has not",
            "leave --labels out",
        )
    check_labels(request.options.labels, scores[0].shape[1], name)


def _ordinary_inputs(
    preprocessing: Preprocessing, stacks: Mapping[str, Array]
) -> Iterator[torch.Tensor]:
    for name in ORDINARY:
        for x in torch.from_numpy(preprocessing.normalize(stacks[name])).float():
            yield x[None]


def _labelled(
    request: ExportRequest,
    data: Path,
    model: nn.Module,
    preprocessing: Preprocessing,
    answered: Mapping[str, Arrays],
) -> Labelled:
    scores = answered["zeros"]
    if len(scores) != 1 or scores[0].ndim != 2:
        raise UsageError("--data needs a network with one output of scores per class")
    claim = Claim("the network", scores[0].shape[1], request.options.labels)
    return label(
        data,
        request.data_limit,
        request.seed,
        request.classes,
        claim,
        preprocessing,
        lambda image: answers(model, torch.from_numpy(preprocessing.normalize(image)).float())[0],
    )


def _calibration(request: ExportRequest, preprocessing: Preprocessing, path: Path) -> Calibration:
    """Write the calibration images to `path`; says what they are."""
    count, seed = request.calibration_count, request.seed
    if request.calibration is None:
        source, images = BUILT_IN, built_in(preprocessing, count, seed)
    else:
        source = request.calibration.resolve().name
        images = from_folder(request.calibration, preprocessing, count, seed)
    store(path, images)
    return Calibration(source=source, images=len(images), seed=seed)


def _save(program: ExportedProgram, path: Path) -> None:
    # Through memory: when a disk is full, torch's own file writer ends the whole process.
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensors that share memory, which it copes with
        torch.export.save(program, stream)
    try:
        path.write_bytes(stream.getbuffer())
    except OSError as error:
        raise OutputError(
            f"cannot write to the temporary folder {path.parent}: {error.strerror}",
            "free some space, or set TMPDIR to another place",
        ) from error


def _presented(arrays: Arrays, variant: Variant) -> Arrays:
    return [_softmax(array) for array in arrays] if variant.softmax else arrays


def _softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return total
