"""Networks lowered to ONNX in this process, for the tests of that target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import torch
from networks import lively
from numpy.typing import NDArray
from torch import nn

from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.eager import flatten
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import Lowered, LowerJob, Options, Variant
from care_mobile.export.targets.onnx import OnnxTarget
from care_mobile.inputs import Resolution

SIZE = 64


@dataclass(frozen=True)
class Subject:
    """A network with lively weights on its way to ONNX."""

    network: nn.Module
    program: torch.export.ExportedProgram
    job: LowerJob

    def lower(self, folder: Path, **changes: Any) -> tuple[Lowered, onnx.ModelProto]:
        folder.mkdir(parents=True, exist_ok=True)
        job = self.job.model_copy(update=changes)
        lowered = OnnxTarget().lower(self.program, job, folder)
        return lowered, onnx.load(folder / lowered.model_file)

    def reference(self, image: NDArray[Any]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [o.numpy() for o in flatten(self.network(torch.from_numpy(image)))]


def subject(network: nn.Module, dynamic_batch: bool = False, size: int = SIZE) -> Subject:
    network = lively(network).float()
    preprocessing = ExportRequest().preprocessing(Resolution(width=size, height=size))
    ready = reparameterize(network, DEFAULT, preprocessing, lively=True)
    variant = Variant(dynamic_batch=dynamic_batch)
    program = capture(ready.model, preprocessing, variant)
    job = LowerJob(
        model="test",
        precision="fp32",
        inputs=(input_spec(preprocessing, variant, image=False),),
        outputs=output_specs(program, variant),
        preprocessing=preprocessing,
        weights="random:0",
        options=Options(dynamic_batch=dynamic_batch),
    )
    return Subject(network, program, job)


def images(count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 3, size, size)).astype(np.float32)


def run(model: onnx.ModelProto, image: NDArray[Any]) -> list[NDArray[Any]]:
    session = ort.InferenceSession(
        model.SerializeToString(), quiet(), providers=["CPUExecutionProvider"]
    )
    outputs: Sequence[Any] = session.run(None, {"image": image})
    return [np.asarray(output) for output in outputs]


def quiet() -> ort.SessionOptions:
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    return settings


def psnr(want: NDArray[Any], have: NDArray[Any]) -> float:
    error = float(np.sqrt(np.mean((want.astype(np.float64) - have) ** 2)))
    return float(20 * np.log10(np.abs(want).max() / max(error, 1e-30)))


def as_ir(model: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(model)
