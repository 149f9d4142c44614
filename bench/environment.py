"""Where a measurement was taken, and what the device said about itself meanwhile."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from care_mobile.frozen import MAX_COUNT

from .plan import MAX_NS, MAX_THREADS, Contract


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


class Readings(Contract):
    """What one look at the device's sensors gave; empty where it has none."""

    thermal: tuple[ThermalReading, ...] = ()
    battery: tuple[BatteryReading, ...] = ()
    memory: tuple[MemoryReading, ...] = ()
