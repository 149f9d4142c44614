"""A run record: what one session found out about one bundle.

Records are evidence. They hold raw samples and are never changed; statistics are derived by
`stats`. The records of a session lie in one folder that is whole or absent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from care_mobile.bundle import Bundle
from care_mobile.errors import CareError, OutputError
from care_mobile.files import read_small
from care_mobile.frozen import Count, Name, first_problem

from .environment import (
    BatteryReading,
    Environment,
    MemoryReading,
    ThermalReading,
)
from .plan import (
    MAX_BLOCKS,
    MAX_BUNDLES,
    MAX_ITERATIONS,
    MAX_NAME,
    MAX_NS,
    BundleIdentity,
    Contract,
    MeasurementPlan,
)

Nanoseconds = Annotated[int, Field(ge=0, le=MAX_NS)]
MAX_RECORD_BYTES = 2**30
_NAME_BYTES = 200


class RecordError(CareError):
    """A run record that is damaged, of another format, or does not belong to another one."""

    exit_code = 5


class RecordKind(str, Enum):
    """`FUNCTIONAL` records come from simulators: they carry counts, never a latency."""

    LATENCY = "latency"
    FUNCTIONAL = "functional"


class Outcome(str, Enum):
    COMPLETED = "completed"
    FAILED = "failed"
    DEVICE_LOST = "device-lost"


class WarningCode(str, Enum):
    """What weakens a record."""

    AFFINITY_NOT_SUPPORTED = "affinity-not-supported"
    WARMUP_CAPPED = "warm-up-capped"
    NO_STEADY_STATE = "no-steady-state"
    THROTTLED = "throttled"
    FUNCTIONAL_ONLY = "functional-only"
    SCRIPTED = "scripted"


class RunWarning(Contract):
    code: WarningCode
    detail: str


class MeasuredBundle(Contract):
    """What was measured, without the bundle at hand. `random_weights` say nothing of accuracy."""

    name: str = Field(max_length=MAX_NAME)
    integrity: str
    model: Name
    target: Name
    precision: Name
    resolution: str = Field(description="WIDTHxHEIGHT in pixels")
    weights_source: str
    random_weights: bool
    size_bytes: Count

    @classmethod
    def of(cls, bundle: Bundle) -> MeasuredBundle:
        manifest = bundle.manifest
        return cls(
            name=bundle.name,
            integrity=manifest.integrity,
            model=manifest.model,
            target=manifest.target,
            precision=manifest.precision,
            resolution=str(manifest.preprocessing.resolution),
            weights_source=manifest.weights.source,
            random_weights=manifest.weights.random,
            size_bytes=bundle.size_bytes,
        )


class BlockSamples(Contract):
    """One burst: `samples_ns` in the order they were taken, from `start_ns` of the session on."""

    number: int = Field(ge=0, lt=MAX_BLOCKS)
    start_ns: Nanoseconds
    samples_ns: tuple[Nanoseconds, ...] = Field(min_length=1, max_length=MAX_ITERATIONS)


class RunRecord(Contract):
    """One bundle in one session. Blocks cut short by a failure are not kept."""

    schema_version: Literal[1] = 1
    kind: RecordKind
    session_id: Name
    started: AwareDatetime
    plan: MeasurementPlan
    bundle_index: int = Field(
        ge=0, lt=MAX_BUNDLES, description="position of the bundle in the plan"
    )
    bundle: MeasuredBundle
    environment: Environment
    warmup_ns: tuple[Nanoseconds, ...] = ()
    blocks: tuple[BlockSamples, ...] = ()
    thermal: tuple[ThermalReading, ...] = ()
    battery: tuple[BatteryReading, ...] = ()
    memory: tuple[MemoryReading, ...] = ()
    counts: dict[str, Count] = Field(default_factory=dict)
    warnings: tuple[RunWarning, ...] = ()
    outcome: Outcome
    reason: str = Field(default="", description="why the outcome is not `completed`")

    @property
    def samples_ns(self) -> list[int]:
        """All samples in order, warm-up left out."""
        return [sample for block in self.blocks for sample in block.samples_ns]

    @model_validator(mode="after")
    def _consistent(self) -> RunRecord:
        identity = BundleIdentity(name=self.bundle.name, integrity=self.bundle.integrity)
        if self.plan.bundles[self.bundle_index : self.bundle_index + 1] != (identity,):
            raise ValueError("the bundle is not the plan's")
        numbers = [block.number for block in self.blocks]
        if numbers != sorted(set(numbers)) or any(n >= self.plan.blocks for n in numbers):
            raise ValueError("block numbers are not increasing numbers of the plan")
        if self.kind is RecordKind.FUNCTIONAL and (self.blocks or self.warmup_ns):
            raise ValueError("a functional record carries no latency")
        completed = self.outcome is Outcome.COMPLETED
        if completed and self.kind is RecordKind.LATENCY and len(numbers) != self.plan.blocks:
            raise ValueError("a completed record holds every block")
        if completed == bool(self.reason):
            raise ValueError("a reason belongs to an outcome that is not `completed`")
        return self


def read_record(file: Path) -> RunRecord:
    """The record in `file`.

    Raises:
        RecordError: if there is none, or it is not a whole record of this format.
    """
    try:
        return RunRecord.model_validate_json(read_small(file, MAX_RECORD_BYTES))
    except OSError as error:
        raise RecordError(f"{file}: {error.strerror}", "name a run record") from error
    except ValidationError as error:
        raise RecordError(f"{file}: {first_problem(error)}", "measure again") from error


def write_records(folder: Path, records: Sequence[RunRecord]) -> list[Path]:
    """Write one session's records to `folder/<session id>/`; returns the files in order.

    Raises:
        OutputError: if the disk refuses; then nothing is left behind.
    """
    session = folder / records[0].session_id
    partial = folder / f".partial-{os.getpid()}-{session.name}"
    names = [_file_name(record) for record in records]
    try:
        partial.mkdir(parents=True)
        for name, record in zip(names, records, strict=True):
            (partial / name).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.rename(session)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}", "choose another --records"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [session / name for name in names]


def _file_name(record: RunRecord) -> str:
    """Of a length that every file system takes, as the bundle's own name may use it up."""
    name = os.fsencode(record.bundle.name)[:_NAME_BYTES]
    return f"{record.bundle_index:02d}-{name.decode(errors='ignore')}.json"


def run_record_schema() -> dict[str, Any]:
    """JSON Schema of a run record."""
    return RunRecord.model_json_schema()
