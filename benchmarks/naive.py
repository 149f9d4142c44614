"""What people export without this project: the published network through plain converters.

The files become bundles, so that the same runtimes and the same measuring loop take them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from care_mobile.bundle import (
    Census,
    Manifest,
    Parity,
    TensorSpec,
    Weights,
    list_files,
    write_manifest,
    writing,
)
from care_mobile.export.capture import output_specs
from care_mobile.export.request import DEFAULT_RESOLUTION, ExportRequest
from care_mobile.export.targets import LowerJob, Options, Variant
from care_mobile.export.targets.executorch import ExecuTorchTarget
from care_mobile.inputs import Preprocessing
from care_mobile.inspection.inspector import inspect
from care_mobile.models.macs import count_parameters
from care_mobile.quiet import quiet
from care_mobile.requirements import tool_versions

Examples = tuple[Tensor, ...]


@dataclass(frozen=True)
class Converter:
    """A way to export a network as it is. `convert` writes `model_file`."""

    name: str
    summary: str
    target: str
    runtime: str
    model_file: str
    modules: tuple[str, ...]
    convert: Callable[[nn.Module, Examples, Path], None]


def _to_executorch(model: nn.Module, examples: Examples, file: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(model, examples)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    with file.open("wb") as stream:
        edge.to_executorch().write_to_file(stream)


def _as_care_export_does(model: nn.Module, examples: Examples, file: Path) -> None:
    program = torch.export.export(model, examples)
    job = LowerJob(
        model=file.stem,
        precision="fp32",
        inputs=_specs([f"input_{i}" for i in range(len(examples))], examples),
        outputs=output_specs(program, Variant()),
        preprocessing=ExportRequest().preprocessing(DEFAULT_RESOLUTION),
        weights="",
        options=Options(),
    )
    ExecuTorchTarget().lower(program, job, file.parent)


def _to_onnx(model: nn.Module, examples: Examples, file: Path) -> None:
    torch.onnx.export(model, examples, file, dynamo=True)


def _to_onnx_17(model: nn.Module, examples: Examples, file: Path) -> None:
    torch.onnx.export(model, examples, str(file), dynamo=False, opset_version=17)


EXECUTORCH = Converter(
    "naive",
    "published network, torch.export, XNNPACK partitioner",
    "executorch",
    "executorch",
    "model.pte",
    ("executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch.exir"),
    _to_executorch,
)
LIKE_OURS = replace(
    EXECUTORCH, name="ours", summary="lowered as care-export does", convert=_as_care_export_does
)
"""For layers alone in ExecuTorch: rewritten like those in our bundle."""
ONNX = Converter(
    "naive-dynamo",
    "published network, torch.onnx dynamo, its default opset",
    "onnx",
    "onnxruntime",
    "model.onnx",
    ("onnx", "onnxscript"),
    _to_onnx,
)
ONNX_17 = Converter(
    "naive-torchscript",
    "published network, torch.onnx TorchScript, opset 17",
    "onnx",
    "onnxruntime",
    "model.onnx",
    ("onnx",),
    _to_onnx_17,
)

CONVERTERS: Mapping[str, tuple[Converter, ...]] = {
    "executorch": (EXECUTORCH,),
    "onnx": (ONNX, ONNX_17),
}
"""By target."""
ALONE: Mapping[str, Converter] = {"executorch": LIKE_OURS, "onnx": ONNX}
"""What converts layers alone, by target."""


def write_bundle(
    path: Path,
    converter: Converter,
    model: nn.Module,
    examples: Examples,
    name: str,
    weights: Weights,
    preprocessing: Preprocessing,
) -> float:
    """Export `model`, in evaluation mode, into a bundle at `path`.

    Returns the seconds the conversion took, its packages imported before.
    """
    with writing(path) as folder, quiet(), torch.no_grad():
        for module in converter.modules:
            import_module(module)
        started = time.perf_counter()
        converter.convert(model, examples, folder / converter.model_file)
        seconds = time.perf_counter() - started
        manifest = _manifest(folder, converter, model, examples, name, weights, preprocessing)
        write_manifest(folder, manifest)
    return seconds


def _manifest(
    folder: Path,
    converter: Converter,
    model: nn.Module,
    examples: Examples,
    name: str,
    weights: Weights,
    preprocessing: Preprocessing,
) -> Manifest:
    with FlopCounterMode(display=False) as counter:
        found = model(*examples)
    results = (found,) if isinstance(found, Tensor) else tuple(found)
    file = folder / converter.model_file
    names = _names(file, len(examples), len(results))
    held = inspect(file)
    return Manifest(
        model=name,
        parameters=count_parameters(model),
        macs=int(counter.get_total_flops()) // 2,
        weights=weights,
        inputs=_specs(names[0], examples),
        outputs=_specs(names[1], results),
        preprocessing=preprocessing,
        target=converter.target,
        precision="fp32",
        runtime=converter.runtime,
        passes=(),
        census=Census(total=held.operations, by_type=held.census),
        tools=tool_versions(),
        parity=Parity(status="unverified", reason="exported for a comparison of speed"),
        model_file=converter.model_file,
        files=list_files(folder),
        created=datetime.now(timezone.utc).replace(microsecond=0),
    )


def _names(file: Path, inputs: int, outputs: int) -> tuple[list[str], list[str]]:
    """Of inputs and outputs; ONNX knows them by name, ExecuTorch by place."""
    if file.suffix != ".onnx":
        return [f"input_{i}" for i in range(inputs)], [f"output_{i}" for i in range(outputs)]
    import onnx

    graph = onnx.load(file, load_external_data=False).graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


def _specs(names: list[str], tensors: Examples) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, shape=tuple(tensor.shape))
        for name, tensor in zip(names, tensors, strict=True)
    )
