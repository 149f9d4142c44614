"""What a session measures and how: the same plan for every device and every harness.

Orders are written out, so that a harness needs no copy of Python's random numbers; what it has to
compute is in `arithmetic`.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import (
    MAX_BLOCKS,
    MAX_CELLS,
    MAX_CORE,
    MAX_FILES,
    MAX_ITERATIONS,
    MAX_RANK,
    MAX_ROUNDS,
    MAX_THREADS,
    MINOR,
    CellIndex,
    Code,
    Contract,
    Count,
    Date,
    Id,
    Name,
    Nanoseconds,
    Permille,
    RelativePath,
    Sha256,
)


class Unit(str, Enum):
    """What executes a network. `ALL` leaves the choice to the engine."""

    CPU = "cpu"
    GPU = "gpu"
    NPU = "npu"
    ALL = "all"


class Role(str, Enum):
    """In a comparison of two states of one source tree; `NONE` elsewhere."""

    NONE = "none"
    BASE = "base"
    HEAD = "head"


class Thermal(str, Enum):
    """Android's scale; iOS maps nominal, fair, serious, critical to 1, 2, 4, 5 of these."""

    NOMINAL = "nominal"
    LIGHT = "light"
    MODERATE = "moderate"
    SEVERE = "severe"
    CRITICAL = "critical"
    EMERGENCY = "emergency"
    SHUTDOWN = "shutdown"


_HEAT = {thermal.value: place for place, thermal in enumerate(Thermal)}


def is_hotter(state: str | None, most: Thermal) -> bool:
    """Whether a thermal state is above one; what is not known is not."""
    return _HEAT.get(state or "", 0) > _HEAT[most.value]


class LoadKind(str, Enum):
    """How a model is loaded, always in a process that has loaded nothing before.

    `FIRST`: from a path that was never loaded; nothing that the engine compiles or caches is there.
    `COLD`: what the engine compiles may be there, the file's pages are not in memory.
    `CACHED`: everything may be there. `UNPROVEN` is said by a harness that cannot tell.
    """

    FIRST = "first"
    COLD = "cold"
    CACHED = "cached"
    UNPROVEN = "unproven"


class Phase(str, Enum):
    """What a round does after loading and warming up, in this order."""

    BURST = "burst"
    PACED = "paced"
    SUSTAINED = "sustained"


class FileRef(Contract):
    """A file that is pushed before the first round; `path` is below the plan's folder."""

    path: RelativePath
    sha256: Sha256
    size_bytes: Count


class TensorInfo(Contract):
    """An input or output as the model file has it; free dimensions are 1.

    `kind` is `image` for pixels 0 to 255, (1, C, height, width), else `tensor`.
    """

    name: Name
    dtype: Code
    shape: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(max_length=MAX_RANK)
    kind: Literal["tensor", "image", "dictionary"] = "tensor"


class ProbeTensor(Contract):
    """One input of a probe: a file of raw values, little-endian, in C order."""

    name: Name
    dtype: Code
    shape: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(max_length=MAX_RANK)
    path: RelativePath


class Probe(Contract):
    """Inputs whose answers the host can judge, or `judged` is false and they only feed the loop."""

    name: Name
    inputs: tuple[ProbeTensor, ...]
    judged: bool = True


class BundleFacts(Contract):
    """What is measured, for who has no bundle at hand. `content_sha256` is its identity."""

    name: Name
    content_sha256: Sha256 | None = None
    model: Name
    target: Name
    precision: Name
    resolution: Name
    weights_source: Name
    random_weights: bool
    size_bytes: Count


class Cell(Contract):
    """One thing that is measured: a bundle at a path, on an engine and a unit.

    The first probe's inputs are what the measuring loop runs. `cores` asks for an affinity; what
    came of it is in the events.
    """

    id: Id
    label: Name
    role: Role = Role.NONE
    bundle: BundleFacts
    engine: Code
    folder: RelativePath | None = Field(None, description="of the bundle, below the plan's folder")
    model: RelativePath | None = Field(None, description="what the engine loads")
    inputs: tuple[TensorInfo, ...] = ()
    outputs: tuple[TensorInfo, ...] = ()
    probes: tuple[Probe, ...] = ()
    unit: Unit = Unit.CPU
    threads: int = Field(1, ge=1, le=MAX_THREADS)
    cores: tuple[Annotated[int, Field(ge=0, le=MAX_CORE)], ...] | None = None


class Warmup(Contract):
    """When a cell counts as warm.

    Once it ran `min_iterations` times or for `min_ns`, whichever comes first, and the medians of
    its last two windows of `window` iterations agree within `tolerance_permille` of the lower. At
    `max_iterations` or `max_ns` warm-up is given up, which is said.
    """

    window: int = Field(10, ge=1, le=MAX_ITERATIONS)
    tolerance_permille: Permille = 20
    min_iterations: int = Field(20, ge=1, le=MAX_ITERATIONS)
    min_ns: Nanoseconds = 1_000_000_000
    max_iterations: int = Field(5000, ge=1, le=MAX_ITERATIONS)
    max_ns: Nanoseconds = 10_000_000_000


class Burst(Contract):
    """A block holds one burst of each cell: as many inferences as fit `target_ns`, within bounds.

    In mode `single` the cells of a block alternate inference by inference instead. `pause_ns` after
    each burst lets threads that still spin for the last cell fall asleep.
    """

    mode: Literal["bursts", "single"] = "bursts"
    target_ns: Nanoseconds = 250_000_000
    min_iterations: int = Field(5, ge=1, le=MAX_ITERATIONS)
    max_iterations: int = Field(500, ge=1, le=MAX_ITERATIONS)
    pause_ns: Nanoseconds = 20_000_000


class Paced(Contract):
    """One inference every `interval_ns`, as a camera asks for them; `count` of each cell."""

    interval_ns: int = Field(33_333_333, ge=1, le=3_600_000_000_000)
    count: int = Field(300, ge=1, le=MAX_ITERATIONS)


class Sustained(Contract):
    """Inferences back to back, each cell alone: for `duration_ns`, and at least `min_count`."""

    duration_ns: Nanoseconds = 60_000_000_000
    min_count: int = Field(1, ge=1, le=MAX_ITERATIONS)


class Gate(Contract):
    """When a block is rejected, and how often its slot is tried again.

    A block is rejected if a thermal status above `thermal` is seen before or after it, or if the
    control kernel's two times differ by more than `control_drift_permille` of the shorter; None
    leaves that out. `cooldown_ns` is what the host waits between rounds while the device says it
    is hotter than `thermal`, at most `max_cooldown_ns` in a session.
    """

    thermal: Thermal = Thermal.NOMINAL
    control_ns: Nanoseconds = 2_000_000
    control_iterations: int | None = Field(None, ge=1, le=2**31 - 1)
    control_drift_permille: Permille | None = 50
    retries: int = Field(1, ge=0, le=10)
    cooldown_ns: Nanoseconds = 30_000_000_000
    max_cooldown_ns: Nanoseconds = 600_000_000_000


class Round(Contract):
    """One launch: its cells in the order of loading, and the order of the cells in each block.

    Rounds of one `replicate` belong together: cells that cannot share a process go to rounds of
    their own, and are then compared replicate by replicate.
    """

    number: int = Field(ge=0, lt=MAX_ROUNDS)
    replicate: int = Field(ge=0, lt=MAX_ROUNDS)
    load: LoadKind = LoadKind.CACHED
    cells: tuple[CellIndex, ...] = Field(min_length=1, max_length=MAX_CELLS)
    blocks: tuple[tuple[CellIndex, ...], ...] = Field((), max_length=MAX_BLOCKS)
    phases: tuple[Phase, ...] = (Phase.BURST,)


class Plan(Contract):
    """See the module's docstring. `session` is new for every session."""

    protocol: Literal[2] = 2
    minor: int = Field(MINOR, ge=0)
    session: Id
    created: Date
    preset: Code = "custom"
    seed: int = Field(0, ge=0, le=2**63 - 1)
    cells: tuple[Cell, ...] = Field(min_length=1, max_length=MAX_CELLS)
    rounds: tuple[Round, ...] = Field(min_length=1, max_length=MAX_ROUNDS)
    files: tuple[FileRef, ...] = Field((), max_length=MAX_FILES)
    warmup: Warmup = Warmup()
    burst: Burst = Burst()
    paced: Paced | None = None
    sustained: Sustained | None = None
    gate: Gate = Gate()
    answer_elements: int = Field(65_536, ge=1, le=2**24)

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if [r.number for r in self.rounds] != list(range(len(self.rounds))):
            raise ValueError("rounds are numbered from 0 in order")
        if len({cell.id for cell in self.cells}) != len(self.cells):
            raise ValueError("two cells have one id")
        for found in self.rounds:
            _check_round(found, len(self.cells))
            if Phase.PACED in found.phases and self.paced is None:
                raise ValueError(f"round {found.number} is paced, but nothing says how")
            if Phase.SUSTAINED in found.phases and self.sustained is None:
                raise ValueError(f"round {found.number} is sustained, but nothing says how")
        if self.burst.min_iterations > self.burst.max_iterations:
            raise ValueError("burst.min_iterations exceeds burst.max_iterations")
        listed = {file.path for file in self.files}
        if len(listed) != len(self.files):
            raise ValueError("a file is listed twice")
        for cell in self.cells:
            for probe in cell.probes:
                if not {tensor.path for tensor in probe.inputs} <= listed:
                    raise ValueError(f"cell {cell.id}: a probe's file is not listed")
        return self


def _check_round(found: Round, cells: int) -> None:
    everyone = sorted(found.cells)
    if len(set(everyone)) != len(everyone) or everyone[-1] >= cells:
        raise ValueError(f"round {found.number}: its cells are not cells of the plan, each once")
    if any(sorted(row) != everyone for row in found.blocks):
        raise ValueError(f"round {found.number}: every block holds each of its cells once")
    if bool(found.blocks) != (Phase.BURST in found.phases):
        raise ValueError(f"round {found.number}: blocks belong to the phase burst")
    if len(set(found.phases)) != len(found.phases):
        raise ValueError(f"round {found.number}: a phase is named twice")
