"""ExecuTorch with the XNNPACK delegate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from care_mobile.bundle import Census
from care_mobile.errors import DelegationError, TargetError, UsageError
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Array
from care_mobile.requirements import Availability, check

from .base import Lowered, LowerJob, Options, Variant
from .executorch_interface import interface
from .fast_lowering import fast_lowering
from .xnnpack_layout import axes_as_written
from .xnnpack_reasons import NO_RULE, collected_reasons

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL_FILE = "model.pte"


class ExecuTorchTarget:
    """See the module's docstring."""

    name = "executorch"
    precisions: tuple[str, ...] = ("fp32", "int8")
    options: tuple[str, ...] = ("labels", "max_partitions", "max_fallback_ops")
    calibrated: tuple[str, ...] = ("int8",)
    keeps_float: tuple[str, ...] = ("int8",)
    runtime = "executorch"
    verifiers: tuple[str, ...] = ("executorch",)
    strict_verifiers: Mapping[str, tuple[str, ...]] = {}
    modules: tuple[str, ...] = (
        "torch",
        "executorch.exir",
        "executorch.backends.xnnpack.partition.xnnpack_partitioner",
        "executorch.devtools.backend_debug",
        "executorch.runtime",
    )
    niceness = 2

    def availability(self) -> Availability:
        return check(("torch", "executorch"), "export")

    def variant(self, options: Options, precision: str) -> Variant:
        return Variant()

    def options_used(self, options: Options) -> dict[str, str | int | bool]:
        return {"backend": "xnnpack"}

    def lower(self, program: ExportedProgram, job: LowerJob, folder: Path) -> Lowered:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.backends.xnnpack.utils.configs import (
            get_transform_passes,
            get_xnnpack_edge_compile_config,
        )
        from executorch.exir import to_edge_transform_and_lower

        program, rewrites = _in_precision(program, job)
        with fast_lowering(program), axes_as_written(), collected_reasons() as reasons:
            edge = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                transform_passes=get_transform_passes(),
                compile_config=get_xnnpack_edge_compile_config(),
            )
            census = _census(edge.exported_program().graph_module, reasons)
            _check_budget(census, job.options)
            executable = edge.to_executorch()
        with (folder / MODEL_FILE).open("wb") as stream:
            executable.write_to_file(stream)
        _check_kernels(folder / MODEL_FILE)
        inputs, outputs = interface(folder / MODEL_FILE, job)
        return Lowered(
            model_file=MODEL_FILE, inputs=inputs, outputs=outputs, census=census, rewrites=rewrites
        )

    def half_precision(self, path: Path, inputs: Sequence[Mapping[str, Array]]) -> HalfPrecision:
        raise TargetError("executorch bundles hold no half precision")


def _check_kernels(path: Path) -> None:
    """Refuse a file that ExecuTorch's runtime would not load, by the operators it lacks."""
    from care_mobile.runtimes.executorch import missing_kernels

    if missing := missing_kernels(path):
        raise TargetError(
            f"ExecuTorch has no kernel for {', '.join(missing)}, nor does XNNPACK take it",
            "write the operation in others, or export for another target",
        )


def _in_precision(
    program: ExportedProgram, job: LowerJob
) -> tuple[ExportedProgram, dict[str, int]]:
    """The program rewritten for XNNPACK and quantized if asked for; the places of each change."""
    if job.precision == "fp32":
        return program, _rewrite(program)
    if job.calibration is None:
        raise UsageError("int8 needs calibration images", "give --calibration DIR")
    from ..quantize.calibration import stored
    from ..quantize.executorch_int8 import quantize, weights_of

    # Rewrites replace nodes, but not the weights that layers are known by.
    keep_float = weights_of(program, job.keep_float)
    rewrites = _rewrite(program)
    quantized = quantize(program, stored(job.calibration), keep_float)
    return quantized.program, rewrites | quantized.places


def _rewrite(program: ExportedProgram) -> dict[str, int]:
    """Apply the rewrites that pay with XNNPACK; returns the places changed by each."""
    from .. import rewrites

    return rewrites.apply(
        program,
        [
            # First, as it works out all values again.
            rewrites.MEMORY_FORMATS_LEFT_OUT,
            rewrites.ADAPTIVE_AVERAGES,
            rewrites.ADAPTIVE_MAXIMA,
            rewrites.SPLITS_TO_SLICES,
            rewrites.EXPANSIONS_LEFT_OUT,
            rewrites.ELU_PLUS_ONE,
            rewrites.BATCHED_PRODUCTS,
            rewrites.MEANS_OVER_MAPS,
            rewrites.LAYER_NORMS_WRITTEN_OUT,
            rewrites.DEPTHWISE_KERNELS_IN_PARTS,
            rewrites.RECIPROCALS_TO_DIVISIONS,
            # Last, as the two before and layer normalisation bring numbers.
            rewrites.CONSTANTS_BESIDE_MAPS,
        ],
    )


def _check_budget(census: Census, options: Options) -> None:
    """Hold the delegation against the limits that were asked for."""
    limits = (
        ("--max-partitions", options.max_partitions, census.partitions, "XNNPACK partitions"),
        ("--max-fallback-ops", options.max_fallback_ops, census.fallback, "fallback operations"),
    )
    for option, limit, count, what in limits:
        if limit is not None and count is not None and count > limit:
            why = "; ".join(census.why_outside()) or "no operation stays outside"
            raise DelegationError(
                f"{count} {what}, but at most {limit} allowed: {why}",
                f"change these operations, or allow more with {option}",
            )


def _census(graph: Any, reasons: Mapping[str, str]) -> Census:
    """Operations inside and outside XNNPACK's partitions; `reasons` by node.

    `getitem` (picking one of several results) and `alloc` (memory planning) are no work and do
    not count.
    """
    from executorch.devtools.backend_debug import get_delegation_info

    info = get_delegation_info(graph)
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for breakdown in info.delegation_by_operator.values():
        name = breakdown.op_type
        if name in ("getitem", "alloc"):
            continue
        inside[name] += breakdown.delegated
        outside[name] += breakdown.non_delegated
    inside, outside = +inside, +outside
    both = inside + outside
    return Census(
        total=both.total(),
        by_type=dict(both.most_common()),
        delegated=inside.total(),
        fallback=outside.total(),
        partitions=info.num_delegated_subgraphs,
        fallback_by_type=dict(outside.most_common()),
        fallback_reasons={
            node.name: reasons.get(node.name, NO_RULE)
            for node in graph.graph.nodes
            if node.op == "call_function" and _is_work(node)
        },
    )


def _is_work(node: Any) -> bool:
    """Whether a node computes something itself, outside any partition."""
    return "delegate" not in str(node.target) and not node.name.startswith(("getitem", "alloc"))
