"""ExecuTorch with the XNNPACK delegate."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from care_mobile.bundle import Census
from care_mobile.requirements import Availability, check

from .base import Lowered, LowerJob, Options, Variant
from .fast_lowering import fast_lowering

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL_FILE = "model.pte"


class ExecuTorchTarget:
    """See the module's docstring."""

    name = "executorch"
    precisions: tuple[str, ...] = ("fp32",)
    runtime = "executorch"
    verifiers: tuple[str, ...] = ("executorch",)
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

    def variant(self, options: Options) -> Variant:
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

        from ..rewrites import SPLITS_TO_SLICES, apply

        rewrites = apply(program, [SPLITS_TO_SLICES])
        with fast_lowering(program):
            edge = to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                transform_passes=get_transform_passes(),
                compile_config=get_xnnpack_edge_compile_config(),
            )
            census = _census(edge.exported_program().graph_module)
            executable = edge.to_executorch()
        with (folder / MODEL_FILE).open("wb") as stream:
            executable.write_to_file(stream)
        return Lowered(model_file=MODEL_FILE, census=census, rewrites=rewrites)


def _census(graph: Any) -> Census:
    """Operations inside and outside XNNPACK's partitions.

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
    )
