"""ONNX through PyTorch's exporter, rewritten for ONNX Runtime.

Opset 20 and later have GELU as one operator.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from care_mobile.bundle import Census
from care_mobile.errors import TargetError
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Array
from care_mobile.requirements import Availability, check, version

from .base import RANGE_SAFE, Lowered, LowerJob, Options, Variant
from .fast_lowering import lean_tracing
from .onnx_interface import interface
from .onnx_rewrites import rewrite

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

MIN_OPSET = 20
MAX_OPSET = 23
"""The newest opset that torch.onnx of torch 2.13 writes."""
MODEL_FILE = "model.onnx"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


class OnnxTarget:
    """See the module's docstring."""

    name = "onnx"
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    options: tuple[str, ...] = ("labels", "opset", "dynamic_batch")
    calibrated: tuple[str, ...] = ("int8",)
    keeps_float: tuple[str, ...] = ("fp16", "int8")
    runtime = "onnxruntime"
    verifiers: tuple[str, ...] = ("onnxruntime",)
    strict_verifiers: Mapping[str, tuple[str, ...]] = {"fp16": ("onnx-declared",)}
    modules: tuple[str, ...] = ("torch", "onnx", "onnxscript", "onnxruntime")
    niceness = 10

    def availability(self) -> Availability:
        return check(("torch", "onnx", "onnxscript", "onnxruntime"), "export")

    def variant(self, options: Options, precision: str) -> Variant:
        passes = (RANGE_SAFE,) if precision == "fp16" else ()
        return Variant(dynamic_batch=options.dynamic_batch, passes=passes)

    def options_used(self, options: Options) -> dict[str, str | int | bool]:
        return {"opset": options.opset, "dynamic_batch": options.dynamic_batch}

    def lower(self, program: ExportedProgram, job: LowerJob, folder: Path) -> Lowered:
        import onnx
        import torch

        from ..places import places

        found = places(program)
        rewrites = _rewrite(program, job)
        try:
            with lean_tracing():
                exported = torch.onnx.export(
                    program,
                    dynamo=True,
                    opset_version=job.options.opset,
                    input_names=[spec.name for spec in job.inputs],
                    output_names=[spec.name for spec in job.outputs],
                    optimize=True,
                    verbose=False,
                )
        except torch.onnx.OnnxExporterError as error:
            raise _refusal(error) from error
        assert exported is not None
        rewrites |= rewrite(exported.model, integers=job.precision == "int8")
        model, counts = _in_precision(exported.model_proto, job)
        _describe(model, job)
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.checker.ValidationError as error:
            raise TargetError(f"onnx.checker refuses the exported model: {error}") from error
        path = folder / MODEL_FILE
        onnx.save(model, path)
        census = _census(model, path)
        inputs, outputs = interface(path, job)
        return Lowered(
            model_file=MODEL_FILE,
            inputs=inputs,
            outputs=outputs,
            census=census,
            rewrites=rewrites | counts,
            places=found,
        )

    def half_precision(self, path: Path, inputs: Sequence[Mapping[str, Array]]) -> HalfPrecision:
        import onnx

        from ..quantize.onnx_half_precision import onnx_half_precision

        return onnx_half_precision(onnx.load(path), inputs)


def _rewrite(program: ExportedProgram, job: LowerJob) -> dict[str, int]:
    """What ONNX has not, or has otherwise; returns the places changed by each."""
    from .. import rewrites

    # The exporter drops a divisor in silence.
    chosen = [rewrites.ADAPTIVE_AVERAGES, rewrites.ADAPTIVE_MAXIMA, rewrites.OWN_DIVISORS]
    if job.precision == "fp16":
        chosen.append(rewrites.NORMAL_EPSILONS)
    return rewrites.apply(program, chosen)


def _refusal(error: BaseException) -> TargetError:
    """What the exporter could not write, in a line: the operator lies in the error's causes."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(_COLORS.sub("", str(cause)))
        cause = cause.__cause__
    for text in causes:
        if found := _OPERATOR.search(text):
            return TargetError(
                f"ONNX has no form for the operator {found[1]}",
                "write it in other operations, or export for another target",
            )
    reason = (causes[-1].strip() or type(error).__name__).splitlines()[0]
    return TargetError(f"torch.onnx cannot export the network: {reason}")


def _in_precision(model: onnx.ModelProto, job: LowerJob) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The float32 `model` in the job's precision, and the operators that took it, by type."""
    from ..quantize.calibration import stored
    from ..quantize.onnx_fp16 import halve
    from ..quantize.onnx_int8 import quantize

    if job.precision == "fp32":
        return model, {}
    if job.precision == "fp16":
        result, counts = halve(model, job.keep_float)
    else:
        if job.calibration is None:
            raise TargetError("int8 needs calibration images", "name a folder of some")
        result, counts = quantize(
            model, stored(job.calibration), job.keep_float, job.inputs[0].name
        )
    return result, {f"{job.precision}-{name}": count for name, count in counts.items()}


def _describe(model: onnx.ModelProto, job: LowerJob) -> None:
    model.producer_name = "care-mobile"
    model.producer_version = version("care-mobile") or ""
    model.doc_string = f"{job.model}, {job.precision}, weights: {job.weights}"
    for node in model.graph.node:  # the exporter's stack traces hold paths of the build machine
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def _census(model: onnx.ModelProto, path: Path) -> Census:
    by_type = Counter(node.op_type for node in model.graph.node)
    return Census(
        total=sum(by_type.values()),
        by_type=dict(by_type.most_common()),
        runtime_by_type=_as_loaded(path),
    )


def _as_loaded(path: Path) -> dict[str, int]:
    """What ONNX Runtime makes of the graph with its default optimisations on this machine."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as scratch:
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.optimized_model_filepath = str(Path(scratch) / "optimized.onnx")
        ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        optimized = onnx.load(settings.optimized_model_filepath, load_external_data=False)
    return dict(Counter(node.op_type for node in optimized.graph.node).most_common())
