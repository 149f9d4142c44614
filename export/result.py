"""What an export brought: the contract of `care-export --json`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Literal

from pydantic import Field

from care_mobile.bundle import Accuracy, Calibration, Census, ForecastSummary, Parity, PassReport
from care_mobile.errors import CareError
from care_mobile.frozen import Frozen
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Resolution

from .replaced import Replaced


class Status(str, Enum):
    """How one bundle ended."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    PARITY_FAILED = "parity-failed"
    FAILED = "failed"


class Failure(Frozen):
    """An error as data."""

    message: str
    hint: str
    exit_code: int

    @classmethod
    def of(cls, error: CareError) -> Failure:
        return cls(message=str(error), hint=error.hint, exit_code=error.exit_code)


class LayerDamage(Frozen):
    """PSNR of the outputs when only this layer is quantized; low is bad.

    `node` names it in the captured program.
    """

    node: str
    operator: str
    psnr_db: float


class BundleResult(Frozen):
    """One bundle: where it is, what is in it, whether it agrees with the reference.

    `path` is None when no bundle was kept. `half_precision` is there for Core ML bundles in fp16
    that were asked to be explained; `sensitivity`, the most damaged layer first, for integer
    precisions that were asked to be explained or to keep layers in float.
    """

    name: str
    model: str
    target: str
    precision: str
    resolution: Resolution
    status: Status
    path: Path | None = None
    size_bytes: int | None = None
    rewrites: dict[str, int] = Field(default_factory=dict)
    census: Census | None = None
    parity: Parity | None = None
    other_parity: tuple[Parity, ...] = ()
    forecast: ForecastSummary | None = None
    half_precision: HalfPrecision | None = None
    calibration: Calibration | None = None
    accuracy: Accuracy | None = None
    sensitivity: tuple[LayerDamage, ...] = ()
    kept_float: tuple[str, ...] = ()
    content_sha256: str | None = Field(None, description="the bundle's identity: of what is run")
    probes_left_out: dict[str, str] = Field(
        default_factory=dict,
        description="probes whose answers cannot be checked where the bundle runs, and why",
    )
    failure: Failure | None = None
    replaced: Replaced | None = Field(
        None, description="the bundle of the same name that was there before"
    )
    earlier_kept: bool = Field(
        False, description="a bundle of the same name stays where it was, as no new one was kept"
    )
    seconds: float


class Proof(Frozen):
    """In what the passes of a network are proven, and what its captured program was held against.

    Attributes:
        arithmetic: `float64` or `float32`.
        reason: why it is not float64; empty if it is.
        held: the widest type in which the captured program was compared with the eager network.
    """

    arithmetic: str
    reason: str = ""
    held: str


class NetworkResult(Frozen):
    """What was done to one network before any target lowered it.

    `passes` are those for every target; `target_passes` those that followed for one, by name.
    `opaque` names parts that no pass can look into, and why.
    """

    model: str
    resolution: Resolution
    parameters: int
    macs: int
    weights: str
    random_weights: bool
    weights_entry: str | None = Field(None, description="key of the state dict inside the file")
    weights_entries: tuple[str, ...] = Field(
        (), description="keys of all state dicts in the file, where there are several"
    )
    passes: tuple[PassReport, ...]
    target_passes: dict[str, tuple[PassReport, ...]]
    opaque: dict[str, str]
    proof: Proof | None = None
    idle_passes: tuple[str, ...] = Field(
        (), description="passes that were asked for and found no place"
    )


class ExportReport(Frozen):
    """Everything one call did."""

    schema_version: Literal[1] = 1
    output: Path
    networks: tuple[NetworkResult, ...]
    bundles: tuple[BundleResult, ...]
    absent: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by target, the precisions asked for that it does not have",
    )
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 if every bundle stands; else a tool's failure before a failed parity."""
        codes = {b.failure.exit_code for b in self.bundles if b.failure}
        return 0 if not codes else min(codes)
