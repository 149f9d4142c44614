"""Core ML as an ML Program (`.mlpackage`), through the torch.export front end of coremltools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from care_mobile.bundle import Census
from care_mobile.coreml import open_package
from care_mobile.coreml.forecast import forecast
from care_mobile.coreml.macs import DECOMPRESS
from care_mobile.errors import UsageError
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Array, InputRange
from care_mobile.requirements import Availability, check, tool_versions, version

from .base import RANGE_SAFE, Lowered, LowerJob, Options, Variant
from .coreml_errors import naming_the_operator
from .coreml_interface import interface
from .coreml_package import make_reproducible
from .coreml_variants import CHOSEN, VARIANTS
from .fast_lowering import lean_tracing
from .interface import is_float

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from ..quantize.coreml_weights import Compression

MODEL_FILE = "model.mlpackage"
MIN_IOS = 17
MAX_IOS = 18

PALETTES = {"palette8": 8, "palette6": 6, "palette4": 4}
"""Precisions with weights in tables -> bits of the places in them."""

INTEGERS = ("int8", "int8-weights")
_FOR_INTEGERS = "early-memory"
"""The variant before the one that adds terms within a convolution: their factors, about one, beside
its small weights leave a scale per channel too coarse. On CARE-S0 43 dB instead of 27 dB."""

_DEBUG_FILE = "executorch_debug_handle_mapping.json"
"""coremltools adds it to programs of torch.export, a quarter to half a megabyte for CARE-S0. It
is no item of the package's manifest, and Core ML does not read it."""


class CoreMLTarget:
    """See the module's docstring."""

    name = "coreml"
    precisions: tuple[str, ...] = ("fp16", "fp32", *INTEGERS, *PALETTES)
    options: tuple[str, ...] = ("image_input", "labels", "min_ios")
    calibrated: tuple[str, ...] = ("int8",)
    keeps_float: tuple[str, ...] = ("fp16", *INTEGERS, *PALETTES)
    runtime = "coreml"
    verifiers: tuple[str, ...] = ("coreml-interpreter", "coreml")
    strict_verifiers: Mapping[str, tuple[str, ...]] = {}
    modules: tuple[str, ...] = ("torch", "coremltools")
    niceness = 10

    def availability(self) -> Availability:
        return check(("torch", "coremltools"), "export")

    def variant(self, options: Options, precision: str) -> Variant:
        passes = VARIANTS[_FOR_INTEGERS if precision in INTEGERS else CHOSEN]
        if precision != "fp32":
            passes = (RANGE_SAFE, *passes)
        return Variant(softmax=bool(options.labels), passes=passes)

    def options_used(self, options: Options) -> dict[str, str | int | bool]:
        return {
            "min_ios": options.min_ios,
            "image_input": options.image_input,
        }

    def lower(self, program: ExportedProgram, job: LowerJob, folder: Path) -> Lowered:
        import coremltools as ct

        from ..places import places

        # Here, as it needs torch, and a target's names and options are known before.
        from .coreml_operators import (
            in_core_ml_terms,
            refuse_integers,
            refuse_what_core_ml_miscomputes,
        )

        half = job.precision != "fp32"
        rewrites = _rewrite(program, half)
        compression = _compression(program, job)
        with lean_tracing():
            program = in_core_ml_terms(program)
        rewrites |= _separate(program)
        refuse_integers(program)
        with naming_the_operator(job.model):
            model = ct.convert(
                program,
                convert_to="mlprogram",
                inputs=[_input_type(ct, job)],
                outputs=None if job.options.labels else _output_types(ct, job),
                classifier_config=_classifier(ct, job),
                compute_precision=_compute_precision(ct, job),
                pass_pipeline=compression.pipeline() if compression else None,
                minimum_deployment_target=getattr(ct.target, f"iOS{job.options.min_ios}"),
                skip_model_load=True,
            )
        _describe(model, job)
        model.save(str(folder / MODEL_FILE))
        (folder / MODEL_FILE / _DEBUG_FILE).unlink(missing_ok=True)
        make_reproducible(folder / MODEL_FILE, ct.proto.Model_pb2.Model())
        package = open_package(folder / MODEL_FILE)
        refuse_what_core_ml_miscomputes(package)
        inputs, outputs = interface(package, job)
        return Lowered(
            model_file=MODEL_FILE,
            inputs=inputs,
            outputs=outputs,
            census=_census(model.get_spec()),
            rewrites=rewrites | (dict(compression.counts) if compression else {}),
            forecast=forecast(package).summary(),
            places=places(program),
        )

    def half_precision(self, path: Path, inputs: Sequence[Mapping[str, Array]]) -> HalfPrecision:
        from care_mobile.runtimes.interpreter.half_precision import half_precision

        return half_precision(open_package(path), inputs)


def _compute_precision(ct: Any, job: LowerJob) -> Any:
    if job.precision == "fp32":
        return ct.precision.FLOAT32
    if job.precision != "fp16" or not job.keep_float:
        return ct.precision.FLOAT16
    from ..quantize.coreml_fp16 import becomes_half

    return ct.transform.FP16ComputePrecision(op_selector=becomes_half(job.keep_float))


def _rewrite(program: ExportedProgram, half: bool) -> dict[str, int]:
    """Edit what Core ML or its converter would take otherwise; places by rewrite."""
    from ..rewrites import (
        AVERAGE_POOLS,
        MAX_POOLS,
        NORMAL_EPSILONS,
        OUTPUT_PADDING,
        PADDINGS_IN_PIECES,
        RECIPROCALS_TO_DIVISIONS,
        RESAMPLING,
        ROOTS_TO_DIVISIONS,
        TANH_GELU,
        apply,
    )

    exact = [
        AVERAGE_POOLS,
        MAX_POOLS,
        RESAMPLING,
        OUTPUT_PADDING,
        PADDINGS_IN_PIECES,
        RECIPROCALS_TO_DIVISIONS,
        ROOTS_TO_DIVISIONS,
        TANH_GELU,
    ]
    return apply(program, [*exact, NORMAL_EPSILONS] if half else exact)


def _separate(program: ExportedProgram) -> dict[str, int]:
    """The last edit: whatever is left out before makes one tensor of two."""
    from ..rewrites import OWN_RESULTS, apply

    return apply(program, [OWN_RESULTS])


def _compression(program: ExportedProgram, job: LowerJob) -> Compression | None:
    if job.precision in ("fp16", "fp32"):
        return None
    from ..quantize.coreml_weights import Compression, weight_names

    inputs = None
    if job.precision == "int8":
        from ..quantize.coreml_int8 import input_ranges

        inputs = input_ranges(program, _calibration(job))
    return Compression(
        bits=PALETTES.get(job.precision),
        keep_float=frozenset(job.keep_float),
        inputs=inputs,
        nodes=weight_names(program),
    )


def _calibration(job: LowerJob) -> Array:
    from ..quantize.calibration import stored

    if job.calibration is None:
        raise UsageError("int8 needs calibration images", "give --calibration DIR")
    return stored(job.calibration)


def _input_type(ct: Any, job: LowerJob) -> Any:
    spec = job.inputs[0]
    if spec.kind == "tensor":
        # In the working type, fp16 where that is: a cast at the start would be an operation in
        # fp32, which the Neural Engine does not take, and bring nothing that is not rounded there.
        return ct.TensorType(name=spec.name, shape=spec.shape)
    assert job.preprocessing.input_range is InputRange.BYTE
    layout = ct.colorlayout.RGB if job.preprocessing.channels == 3 else ct.colorlayout.GRAYSCALE
    return ct.ImageType(name=spec.name, shape=spec.shape, color_layout=layout)


def _output_types(ct: Any, job: LowerJob) -> list[Any]:
    # Plain floats, whatever runs inside, as users read them and ranges may exceed fp16. Core ML has
    # no outputs of 64-bit integers or truth values.
    return [
        ct.TensorType(name=spec.name, dtype=np.float32 if is_float(spec) else np.int32)
        for spec in job.outputs
    ]


def _classifier(ct: Any, job: LowerJob) -> Any:
    labels = list(job.options.labels)
    return ct.ClassifierConfig(labels) if labels else None


def _describe(model: Any, job: LowerJob) -> None:
    model.author = f"care-mobile {version('care-mobile') or ''}".strip()
    model.short_description = f"{job.model}, {job.precision}, weights: {job.weights}"
    for name, found in tool_versions().items():
        model.user_defined_metadata[f"care_mobile.{name}"] = found
    model.input_description[job.inputs[0].name] = (
        f"{job.preprocessing.color} image, {job.preprocessing.resolution}, "
        f"values {job.preprocessing.input_range.value}"
    )


def _census(spec: Any) -> Census:
    """Operations of the ML Program; constants, compressed ones too, not counted."""
    by_type: Counter[str] = Counter()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            by_type.update(
                op.type
                for op in block.operations
                if op.type != "const" and not op.type.startswith(DECOMPRESS)
            )
    return Census(total=by_type.total(), by_type=dict(by_type.most_common()))
