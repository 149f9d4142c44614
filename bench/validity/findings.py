"""What can be wrong with a record: codes, how bad each can be, and why it matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """`INVALID` evidence is compared with nothing; a `WARNING` has to be read with the figure."""

    INVALID = "invalid"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


class FindingCode(str, Enum):
    WRONG_ANSWERS = "wrong-answers"
    ANSWERS_UNCHECKED = "answers-unchecked"
    ANSWERS_PARTIAL = "answers-partial"
    CELL_FAILED = "cell-failed"
    UNIT_DIFFERS = "unit-differs"
    UNIT_UNKNOWN = "unit-unknown"
    THREADS_DIFFER = "threads-differ"
    AFFINITY_NOT_SUPPORTED = "affinity-not-supported"
    PLACEMENT_CHANGED = "placement-changed"
    ENGINE_CHANGED = "engine-changed"
    MACHINE_CHANGED = "machine-changed"
    TOOLS_CHANGED = "tools-changed"
    SIMULATOR = "simulator"
    EMULATOR = "emulator"
    INTERPRETER = "interpreter"
    SCRIPT = "script"
    FUNCTIONAL = "functional"
    REALITY_UNKNOWN = "reality-unknown"
    IMPORTED_LACKS = "imported-lacks"
    THROTTLED = "throttled"
    THERMAL_UNKNOWN = "thermal-unknown"
    LOW_POWER = "low-power"
    NOT_IN_FOREGROUND = "not-in-foreground"
    DEBUGGER = "debugger"
    CHARGING_CHANGED = "charging-changed"
    SPEED_CHANGED = "speed-changed"
    TIMER_COARSE = "timer-coarse"
    MACHINE_BUSY = "machine-busy"
    BUSY_UNKNOWN = "busy-unknown"
    ROUNDS_LOST = "rounds-lost"
    INTERRUPTED = "interrupted"
    TOO_FEW_ROUNDS = "too-few-rounds"
    TOO_FEW_SAMPLES = "too-few-samples"
    CONTROL_DRIFT = "control-drift"
    BLOCKS_REJECTED = "blocks-rejected"
    SLOTS_LOST = "slots-lost"
    WARM_UP_CAPPED = "warm-up-capped"
    STEP = "step-inside-a-round"
    NO_STEADY_STATE = "no-steady-state"
    PACED_LATE = "paced-late"
    PACE_NOT_KEPT = "pace-not-kept"
    NOTED = "noted"


@dataclass(frozen=True)
class Finding:
    """One thing to know before a figure is believed.

    `cell` is None for what concerns all cells; `rounds` are those it was seen in, empty where it
    is about all of them.
    """

    code: FindingCode
    severity: Severity
    detail: str
    cell: int | None = None
    rounds: tuple[int, ...] = ()

    @property
    def round(self) -> int | None:
        """The one round it was seen in."""
        return self.rounds[0] if len(self.rounds) == 1 else None


def invalid(findings: Sequence[Finding], cell: int) -> bool:
    """Whether a cell's figures are no evidence."""
    return any(
        found.severity is Severity.INVALID and found.cell in (None, cell) for found in findings
    )
