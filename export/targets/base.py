"""What every target offers: lower one captured program into a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from care_mobile.bundle import Census, ForecastSummary, TensorSpec
from care_mobile.frozen import Frozen
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Array, Preprocessing
from care_mobile.requirements import Availability

if TYPE_CHECKING:
    from torch.export import ExportedProgram


RANGE_SAFE = "range-safe-attention"
"""The pass for targets in half precision. By name: what a target wants is known before torch is
loaded."""


class Options(Frozen):
    """Options of all targets; each reads its own."""

    opset: int = 20
    dynamic_batch: bool = False
    image_input: bool = False
    labels: tuple[str, ...] = ()
    min_ios: int = 17
    max_partitions: int | None = None
    max_fallback_ops: int | None = None


@dataclass(frozen=True)
class Variant:
    """What makes one capture of a network different from another."""

    dynamic_batch: bool = False
    softmax: bool = False
    passes: tuple[str, ...] = ()
    """Optional reparameterizations that pay on this target, by name; they follow the shared."""


class LowerJob(Frozen):
    """Everything a target needs beside the program; inputs and outputs as PyTorch has them."""

    model: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: Preprocessing
    weights: str
    options: Options
    calibration: Path | None = None
    """An .npz with `images` (n, C, H, W), float32 in the input range, for integer precisions."""
    keep_float: tuple[str, ...] = ()
    """What a narrow precision leaves in float: nodes of the captured program for integers; for fp16
    operations of the file, whose results those that read them get in fp32."""


class Lowered(Frozen):
    """What a target wrote into the folder; inputs and outputs as the file has them."""

    model_file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    census: Census
    rewrites: dict[str, int]
    forecast: ForecastSummary | None = None
    places: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    """Where in the network operations come from, by name; see `places`."""


class Target(Protocol):
    """A format to export to. `precisions` starts with the default one."""

    name: str
    precisions: tuple[str, ...]
    options: tuple[str, ...]
    """The fields of `Options` it reads; it would drop the others in silence."""
    calibrated: tuple[str, ...]
    """Precisions whose file depends on calibration images."""
    keeps_float: tuple[str, ...]
    """Precisions that can leave layers in float; in fp16, operations in fp32."""
    runtime: str
    """What a bundle is made for."""
    verifiers: tuple[str, ...]
    """Runtimes whose results are held against the reference: each that can be used here."""
    strict_verifiers: Mapping[str, tuple[str, ...]]
    """Further ones by precision, where the first compute in wider types than the file declares."""
    modules: tuple[str, ...]
    """What lowering imports, so that a worker can do it ahead of time."""
    niceness: int
    """How far its process steps back for the others: the longest lowering goes first."""

    def availability(self) -> Availability: ...

    def variant(self, options: Options, precision: str) -> Variant:
        """The capture this target starts from in one of its precisions."""
        ...

    def options_used(self, options: Options) -> dict[str, str | int | bool]:
        """The options that shape this target's file, for the manifest."""
        ...

    def lower(self, program: ExportedProgram, job: LowerJob, folder: Path) -> Lowered:
        """Write the model file into `folder`.

        Raises:
            TargetError: if the converter fails.
        """
        ...

    def half_precision(self, path: Path, inputs: Sequence[Mapping[str, Array]]) -> HalfPrecision:
        """What half precision costs a model file of this target, on some inputs by name.

        Raises:
            TargetError: if the target has none.
        """
        ...
