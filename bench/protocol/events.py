"""What a harness says of one round, line by line: JSON objects, `event` first tells which.

Times are nanoseconds of the harness's own monotonic clock since it started; they never go back.
`n` counts lines from 0. The last line is `end`; a file without it was cut off.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import (
    MAX_CELLS,
    MAX_CORE,
    MAX_ITERATIONS,
    MAX_ROUNDS,
    MAX_THREADS,
    CellIndex,
    Code,
    Contract,
    Count,
    Date,
    Detail,
    Id,
    Name,
    Nanoseconds,
    Samples,
    Sha256,
)
from .plan import LoadKind, Thermal, Unit

MAX_READINGS = 256
MAX_ANSWERS = 64
MAX_ANSWER_CHARACTERS = 4 * 2**24
_LINES = 2**31


class Reality(str, Enum):
    """What a machine is made of. Only a physical or virtual one has latencies."""

    PHYSICAL = "physical"
    VIRTUAL = "virtual"
    SIMULATOR = "simulator"
    EMULATOR = "emulator"
    INTERPRETER = "interpreter"
    SCRIPT = "script"
    UNKNOWN = "unknown"


class Machine(Contract):
    """A device as its harness describes it: what stays the same from round to round."""

    model: Name
    reality: Reality = Reality.UNKNOWN
    os: Name
    os_build: Name
    architecture: Name
    soc: Name
    cores: int | None = Field(None, ge=1, le=100_000)
    memory_bytes: Count | None = None


class Engine(Contract):
    """What runs networks there: `onnxruntime`, `executorch`, `coreml`, ..."""

    name: Code
    version: Name
    backend: Name = ""


class Clock(Contract):
    name: Name
    resolution_ns: Nanoseconds


class HarnessInfo(Contract):
    name: Name
    version: Name
    language: Name


class Reading(Contract):
    """One look at one sensor: a value, a state, or both.

    Kinds and units: `temperature` (millidegrees Celsius), `thermal` (state of `Thermal`, or
    `unknown`), `battery` (permille; state `charging`, `discharging` or `full`), `memory` (bytes
    resident in the process), `load` (thousandths of the one-minute load average), `steal`
    (nanoseconds since boot that a hypervisor gave to others, summed over cores), `frequency` (kHz,
    `name` says of what), `foreground`, `debugger`, `low-power`, `fixed-performance` (state `yes` or
    `no`), `governor`, `scheduling` and `host` (state: the machine's own name). Others are kept.
    """

    at_ns: Nanoseconds
    kind: Code
    name: Name = ""
    value: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    state: Name | None = None


Readings = Annotated[tuple[Reading, ...], Field(max_length=MAX_READINGS)]


class Event(Contract):
    """What all events have: which line it is, and when."""

    n: int = Field(ge=0, lt=_LINES)
    at_ns: Nanoseconds


class Hello(Event):
    """The first line. Session, round and launch are those that the harness was started with."""

    event: Literal["hello"] = "hello"
    protocol: Literal[2] = 2
    minor: int = Field(0, ge=0)
    session: Id
    round: int = Field(ge=0, lt=MAX_ROUNDS)
    launch: Id
    started: Date
    harness: HarnessInfo
    clock: Clock
    machine: Machine
    readings: Readings = ()


class Control(Event):
    """The control kernel of this launch: iterations, its result and its time."""

    event: Literal["control"] = "control"
    iterations: int = Field(ge=1, le=2**31 - 1)
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    control_ns: Nanoseconds


class Loaded(Event):
    """A cell was loaded. `placement` counts operations by unit where the engine tells."""

    event: Literal["loaded"] = "loaded"
    cell: CellIndex
    kind: LoadKind
    load_ns: Nanoseconds | None = Field(None, description="null only where another tool is silent")
    compile_ns: Nanoseconds | None = None
    engine: Engine
    unit: Unit | None = Field(None, description="observed; null where the engine does not tell")
    threads: int | None = Field(None, ge=0, le=MAX_THREADS)
    cores: tuple[Annotated[int, Field(ge=0, le=MAX_CORE)], ...] | None = None
    placement: dict[Code, Count] | None = None
    memory_bytes: Count | None = Field(None, description="resident in the process after the load")


class Answer(Contract):
    """An output on a probe: every `stride`-th element in C order, little-endian, in base64.

    In a record `data` is gone and `sha256` of the decoded bytes is there instead.
    """

    name: Name
    dtype: Code
    shape: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(max_length=16)
    stride: int = Field(1, ge=1)
    data: str | None = Field(None, max_length=MAX_ANSWER_CHARACTERS)
    sha256: Sha256 | None = None


class Checked(Event):
    """The answers of a cell on one probe, `before` it is measured or `after`."""

    event: Literal["checked"] = "checked"
    cell: CellIndex
    probe: Name
    moment: Literal["before", "after"] = "before"
    answers: tuple[Answer, ...] = Field(max_length=MAX_ANSWERS)


class Warm(Event):
    """A warm-up ended. `latency_ns` is the median of the last window: bursts are sized by it."""

    event: Literal["warm"] = "warm"
    cell: CellIndex
    iterations: int = Field(ge=1, le=MAX_ITERATIONS)
    first_ns: Nanoseconds
    latency_ns: Nanoseconds
    total_ns: Nanoseconds
    steady: bool


class CellBurst(Contract):
    """The inferences of one cell in one block, in order. `cpu_ns` is the process's CPU time."""

    cell: CellIndex
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    cpu_ns: Nanoseconds | None = None
    samples_ns: Samples = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> CellBurst:
        if self.start_ns + sum(self.samples_ns) > self.end_ns:
            raise ValueError("the inferences take longer than their burst")
        return self


class Rejected(Contract):
    code: Code
    detail: Detail = ""


class Block(Event):
    """One burst of each cell of the round. A rejected one keeps its samples; its slot may be
    tried again, as the next `attempt`."""

    event: Literal["block"] = "block"
    block: int = Field(ge=0, lt=MAX_ROUNDS)
    attempt: int = Field(0, ge=0, le=100)
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    bursts: tuple[CellBurst, ...] = Field(min_length=1, max_length=MAX_CELLS)
    control_before_ns: Nanoseconds | None = None
    control_after_ns: Nanoseconds | None = None
    before: Readings = ()
    after: Readings = ()
    rejected: Rejected | None = None

    @model_validator(mode="after")
    def _fits(self) -> Block:
        inside = all(self.start_ns <= b.start_ns and b.end_ns <= self.end_ns for b in self.bursts)
        if not inside or self.end_ns > self.at_ns:
            raise ValueError("the times of a block are not in order")
        return self


class PacedRun(Event):
    """One cell at a pace. `late_ns` is how long after its time each inference began."""

    event: Literal["paced"] = "paced"
    cell: CellIndex
    start_ns: Nanoseconds
    interval_ns: Nanoseconds
    samples_ns: Samples = Field(min_length=1)
    late_ns: Samples = ()
    cpu_ns: Nanoseconds | None = None
    before: Readings = ()
    after: Readings = ()

    @model_validator(mode="after")
    def _fits(self) -> PacedRun:
        if self.late_ns and len(self.late_ns) != len(self.samples_ns):
            raise ValueError("there is one delay for every inference, or none")
        return self


class SustainedRun(Event):
    """A stretch of a sustained run; a harness writes one about every second."""

    event: Literal["sustained"] = "sustained"
    cell: CellIndex
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    samples_ns: Samples = Field(min_length=1)
    cpu_ns: Nanoseconds | None = None
    after: Readings = ()

    @model_validator(mode="after")
    def _fits(self) -> SustainedRun:
        if self.start_ns + sum(self.samples_ns) > self.end_ns:
            raise ValueError("the inferences take longer than their stretch")
        return self


class Read(Event):
    """Readings between other events."""

    event: Literal["reading"] = "reading"
    readings: Readings


class Note(Event):
    """Something that weakens or explains: `affinity-not-supported`, `noise-inputs`, ..."""

    event: Literal["note"] = "note"
    code: Code
    detail: Detail = ""
    cell: CellIndex | None = None


class Failed(Event):
    """A cell failed and ends here; without a cell, the launch."""

    event: Literal["failed"] = "failed"
    code: Code
    detail: Detail = ""
    cell: CellIndex | None = None


class End(Event):
    """The last line: how many lines are before it."""

    event: Literal["end"] = "end"
    events: int = Field(ge=0, lt=_LINES)


HarnessEvent = (
    Hello
    | Control
    | Loaded
    | Checked
    | Warm
    | Block
    | PacedRun
    | SustainedRun
    | Read
    | Note
    | Failed
    | End
)
EVENTS: dict[str, type[Event]] = {
    kind.model_fields["event"].default: kind
    for kind in (
        Hello,
        Control,
        Loaded,
        Checked,
        Warm,
        Block,
        PacedRun,
        SustainedRun,
        Read,
        Note,
        Failed,
        End,
    )
}
"""By the word in `event`."""

__all__ = ["EVENTS", "Thermal"]
