"""Core ML models of every kind: programs, pipelines, and the kinds from before programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..coreml import Feature, MLPackage
from ..coreml.compute_plan import compare, compute_plan
from ..coreml.features import read_feature
from ..coreml.forecast import Forecast, forecast
from ..coreml.macs import block_parameters, block_work
from ..coreml.package import (
    ModelFile,
    model_kind,
    read_folder,
    read_metadata,
    read_program,
    read_single_file,
)
from ..errors import ModelFileError, UsageError
from .coreml_layers import bytes_by_type, layers
from .coreml_shapes import settle
from .neural_network import read_network
from .options import Options, check_names
from .pipeline import summed
from .results import CoreMLFacts, Inspection, Port, by_count, largest_first, notes

IOS = {
    1: 11, 2: 11, 3: 12, 4: 13, 5: 14, 6: 15, 7: 16, 8: 17, 9: 18,
}  # fmt: skip
"""Specification version -> the oldest iOS that reads it."""
_NETWORKS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")


def inspect_coreml(path: Path, options: Options) -> Inspection:
    """See `inspect`; for an ML Program the Neural Engine forecast is part of it."""
    file = read_folder(path) if path.is_dir() else read_single_file(path)
    if options.with_plan and file.kind != "mlProgram":
        raise ModelFileError(
            f"{path.name} is a {file.kind}, and plans are compared for ML Programs only",
            "leave out --compute-plan",
        )
    return _model(file, file.message, path.name, options)


def _model(file: ModelFile, message: Any, name: str, options: Options) -> Inspection:
    kind = model_kind(message)
    if kind == "mlProgram":
        return _program(file, message, name, options)
    if options.function is not None:
        raise UsageError(f"{name} is a {kind}, which has no functions", "leave out --function")
    if kind == "pipeline":
        return _pipeline(file, message, message.pipeline, name, options)
    if kind in ("pipelineClassifier", "pipelineRegressor"):
        return _pipeline(file, message, getattr(message, kind).pipeline, name, options)
    if options.shapes:
        raise UsageError(
            f"{name} is a {kind}, whose layers keep no shapes", "leave out --input-shape"
        )
    if kind in _NETWORKS:
        return _network(file, message, kind, name, options)
    return _other(file, message, kind, name)


def _program(file: ModelFile, message: Any, name: str, options: Options) -> Inspection:
    shown = chosen_function(name, message, options.function)
    package = read_program(file, message, shown)
    settled = settle(package, options.shapes)
    main = settled.package.main
    types = main.types()
    work = block_work(main, types)
    predicted, missing = _forecast(file, settled.package)
    if predicted and settled.note:
        predicted = predicted.model_copy(update={"note": f"{predicted.note} It is {settled.note}."})
    names = tuple(sorted(message.mlProgram.functions))
    return Inspection(
        name=name,
        size_bytes=file.size_bytes,
        inputs=_ports((*package.inputs, *package.states)),
        outputs=_ports(package.outputs),
        operations=sum(1 for _ in main.walk()),
        census=by_count(Counter(operation.type for operation in main.walk())),
        parameters=block_parameters(main),
        parameters_note=missing,
        macs=work.known,
        macs_at_least=work.at_least,
        macs_note=notes(settled.note, *work.notes(), settled.advice if work.uncounted else ""),
        bytes_by_type=bytes_by_type(main),
        layers=largest_first(layers(main, types), options.largest),
        facts=_facts(message, "mlProgram", main.opset, names, shown),
        forecast=predicted,
        comparison=compare(predicted, compute_plan(file.path))
        if options.with_plan and predicted
        else None,
    )


def chosen_function(name: str, message: Any, wanted: str | None) -> str:
    """The function of an ML Program to show: the one that is wanted, else the default one.

    Raises:
        UsageError: if it has none of that name.
    """
    functions = sorted(message.mlProgram.functions)
    if not functions:
        raise ModelFileError(f"{name} is an ML Program without a function", "convert it again")
    if wanted is None:
        default = message.description.defaultFunctionName or "main"
        return default if default in functions else functions[0]
    if wanted not in functions:
        raise UsageError(
            f"{name} has no function {wanted!r}", f"it has {', '.join(map(repr, functions))}"
        )
    return wanted


def _forecast(file: ModelFile, package: MLPackage) -> tuple[Forecast | None, str]:
    """The forecast, which reads every weight; a single file may come without them."""
    try:
        return forecast(package), ""
    except ModelFileError as error:
        if file.path.is_dir():
            raise
        return None, f"no forecast, as {error}"


def _pipeline(
    file: ModelFile, message: Any, pipeline: Any, name: str, options: Options
) -> Inspection:
    """The parts one after the other; what is known of all of them is the whole's."""
    if not pipeline.models:
        raise ModelFileError(f"{name} is a pipeline without parts", "convert it again")
    known = {feature.name for model in pipeline.models for feature in model.description.input}
    check_names(options.shapes, known)
    parts = []
    for index, model in enumerate(pipeline.models):
        title = pipeline.names[index] if index < len(pipeline.names) else f"part {index + 1}"
        own = {feature.name for feature in model.description.input}
        shapes = {key: shape for key, shape in options.shapes.items() if key in own}
        part = _model(file, model, title, replace(options, shapes=shapes, with_plan=False))
        parts.append(part.model_copy(update={"size_bytes": model.ByteSize()}))
    return summed(
        parts,
        options.largest,
        name=name,
        size_bytes=file.size_bytes,
        inputs=_ports(tuple(map(read_feature, message.description.input))),
        outputs=_ports(tuple(map(read_feature, message.description.output))),
        facts=_facts(message, model_kind(message)),
    )


def _network(file: ModelFile, message: Any, kind: str, name: str, options: Options) -> Inspection:
    network = read_network(getattr(message, kind))
    return Inspection(
        name=name,
        size_bytes=file.size_bytes,
        inputs=_ports(tuple(map(read_feature, message.description.input))),
        outputs=_ports(tuple(map(read_feature, message.description.output))),
        operations=network.census.total(),
        census=by_count(network.census),
        parameters=network.parameters,
        macs=None,
        macs_at_least=True,
        macs_note="this format keeps no shapes between layers",
        bytes_by_type=by_count(network.bytes_by_type),
        layers=largest_first(network.layers, options.largest),
        facts=_facts(message, kind),
    )


def _other(file: ModelFile, message: Any, kind: str, name: str) -> Inspection:
    """Trees, vectorizers, ...: what the interface says is all that is shown."""
    return Inspection(
        name=name,
        size_bytes=file.size_bytes,
        inputs=_ports(tuple(map(read_feature, message.description.input))),
        outputs=_ports(tuple(map(read_feature, message.description.output))),
        operations=1,
        census={kind: 1},
        parameters=None,
        parameters_at_least=True,
        parameters_note=f"what a {kind} holds is not read",
        macs=None,
        macs_at_least=True,
        macs_note=f"what a {kind} computes is not known",
        bytes_by_type={},
        layers=(),
        facts=_facts(message, kind),
    )


def _facts(
    message: Any, kind: str, opset: str = "", functions: tuple[str, ...] = (), shown: str = ""
) -> CoreMLFacts:
    return CoreMLFacts(
        specification=message.specificationVersion,
        ios=IOS.get(message.specificationVersion),
        opset=opset,
        metadata=dict(sorted(read_metadata(message).items())),
        kind=kind,
        functions=functions,
        shown=shown,
    )


def _ports(features: tuple[Feature, ...]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=feature.name,
            kind=feature.kind,
            dtype=feature.dtype,
            shape=tuple(size if size >= 0 else None for size in feature.shape) or None,
            flexible=feature.flexible,
            accepts=_accepts(feature),
        )
        for feature in features
    )


def _accepts(feature: Feature) -> str:
    """The shapes that a flexible one takes."""
    if feature.enumerated:
        return " or ".join(" x ".join(map(str, shape)) for shape in feature.enumerated)
    spans = [
        str(low) if low == high else f"{low}..{'' if high is None else high}"
        for low, high in feature.bounds
    ]
    return " x ".join(spans)
