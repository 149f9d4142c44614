"""Records of the first version, as care-bench wrote them until 2026: for reading only.

One file holds what one session found out about one bundle; the files of a session lie in a folder.
`upgrade` makes sessions of them.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from care_mobile.frozen import MAX_COUNT, Count, Frozen, Name

MAX_BLOCKS = 1000
MAX_ITERATIONS = 100_000
MAX_SECONDS = 86_400.0
MAX_BUNDLES = 10_000
MAX_THREADS = 100_000
MAX_NAME = 255
MAX_NS = 2**63 - 1


class Contract(Frozen):
    """Base of all that travels between this program and a harness: plain, strict, immutable."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class BundleIdentity(Contract):
    """Which bundle: its folder's name and the integrity hash in its manifest."""

    name: str = Field(max_length=MAX_NAME)
    integrity: str


class WarmupRules(Contract):
    """When a bundle counts as warm.

    It is warm once it ran `min_iterations` times or for `min_seconds`, whichever comes first, and
    the medians of its last two windows of `window` iterations agree within `tolerance`. At
    `max_iterations` or `max_seconds` warm-up is given up, which is a warning. Where fewer than
    two windows ran, a window is half of what ran: one inference may take longer than a second.
    """

    window: int = Field(default=10, ge=1, le=MAX_ITERATIONS)
    tolerance: float = Field(default=0.02, gt=0, le=1)
    min_iterations: int = Field(default=20, ge=1, le=MAX_ITERATIONS)
    min_seconds: float = Field(default=1.0, ge=0, le=MAX_SECONDS)
    max_iterations: int = Field(default=5000, ge=1, le=MAX_ITERATIONS)
    max_seconds: float = Field(default=10.0, gt=0, le=MAX_SECONDS)


class BurstSize(Contract):
    """How many inferences make one block of one bundle.

    As many as fit in `block_seconds`, within the two bounds: slow networks do not take for ever,
    fast ones give a steady median. Decided once per bundle, after its warm-up.
    """

    block_seconds: float = Field(default=0.25, gt=0, le=MAX_SECONDS)
    min_iterations: int = Field(default=5, ge=1, le=MAX_ITERATIONS)
    max_iterations: int = Field(default=500, ge=1, le=MAX_ITERATIONS)


class MeasurementPlan(Contract):
    """What to run, in which order. `order` and `load_order` hold positions in `bundles`.

    `pause_seconds` after each burst lets thread pools that still spin for the last bundle fall
    asleep before the next one runs.
    """

    schema_version: Literal[1] = 1
    mode: Literal["burst"] = "burst"
    bundles: tuple[BundleIdentity, ...] = Field(min_length=1, max_length=MAX_BUNDLES)
    blocks: int = Field(default=10, ge=1, le=MAX_BLOCKS)
    burst: BurstSize = BurstSize()
    warmup: WarmupRules = WarmupRules()
    pause_seconds: float = Field(default=0.02, ge=0, le=MAX_SECONDS)
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    affinity: tuple[int, ...] | None = None
    seed: int = 0
    input_seed: int = 0
    load_order: tuple[int, ...]
    order: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _consistent(self) -> MeasurementPlan:
        everyone = list(range(len(self.bundles)))
        if len(self.order) != self.blocks:
            raise ValueError(f"order has {len(self.order)} blocks, not {self.blocks}")
        if any(sorted(row) != everyone for row in (self.load_order, *self.order)):
            raise ValueError("every block and the load order hold each bundle once")
        if self.burst.min_iterations > self.burst.max_iterations:
            raise ValueError("burst.min_iterations exceeds burst.max_iterations")
        return self


class ComputeUnit(str, Enum):
    """What executes a network. `ALL` leaves the choice to the runtime."""

    CPU = "cpu"
    GPU = "gpu"
    NPU = "npu"
    ALL = "all"


class Machine(Contract):
    """A device as it describes itself. None means the device does not tell."""

    device: str = Field(description="kind of device: desktop, scripted, ...")
    name: str
    os: str
    os_build: str
    architecture: str
    soc: str = Field(description="model of the CPU or system on a chip")
    cores: int = Field(ge=1, le=MAX_THREADS, description="logical cores of the machine")
    virtualised: bool | None = None
    governor: str | None = None
    frequency_khz: int | None = None


class RuntimeFacts(Contract):
    """The runtime that ran the bundle, and how. None means it does not tell or has no choice."""

    name: str
    version: str
    backend: str
    requested_unit: ComputeUnit
    observed_unit: ComputeUnit | None = None
    threads: int | None = None
    affinity: tuple[int, ...] | None = Field(
        default=None, description="cpus in force, not only asked for"
    )


class Environment(Contract):
    """All that must be equal for two latencies to be comparable."""

    machine: Machine
    runtime: RuntimeFacts
    tools: dict[str, str] = Field(description="versions by name, python among them")


class ThermalStatus(str, Enum):
    """Android's scale; iOS maps nominal, fair, serious, critical to 1, 2, 4, 5 of these."""

    NOMINAL = "nominal"
    LIGHT = "light"
    MODERATE = "moderate"
    SEVERE = "severe"
    CRITICAL = "critical"
    EMERGENCY = "emergency"
    SHUTDOWN = "shutdown"


class ThermalReading(Contract):
    at_ns: int = Field(ge=0, le=MAX_NS, description="since the start of the session")
    sensor: str
    celsius: float | None = None
    status: ThermalStatus | None = None


class BatteryReading(Contract):
    at_ns: int = Field(ge=0, le=MAX_NS, description="since the start of the session")
    level_percent: float = Field(ge=0, le=100)
    charging: bool | None = None


class MemoryReading(Contract):
    """Resident memory of the process, which holds all bundles of the session."""

    at_ns: int = Field(ge=0, le=MAX_NS, description="since the start of the session")
    resident_bytes: int = Field(ge=0, le=MAX_COUNT)


Nanoseconds = Annotated[int, Field(ge=0, le=MAX_NS)]


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


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas of this version, by the name of their files in `bench/schema/`."""
    return {
        "measurement-plan-1.json": MeasurementPlan.model_json_schema(),
        "run-record-1.json": RunRecord.model_json_schema(),
    }
