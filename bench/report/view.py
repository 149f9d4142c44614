"""What `--json` prints, and what every other format shows: plain data, derived from a record.

Times are whole nanoseconds. Intervals are of 95 % over rounds. What a record cannot say is null: a
functional one has no latency, load time or memory, and a single round has no interval.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from pydantic import Field

from care_mobile.frozen import Frozen

from ..protocol.events import Machine
from ..protocol.plan import BundleFacts, LoadKind, Role, Unit
from ..protocol.record import DeviceReference, RecordKind, RoundStatus
from ..validity import Severity


class AnswerState(str, Enum):
    """Whether a cell's answers on the probe inputs were right where they were computed."""

    VERIFIED = "verified"
    WRONG = "wrong"
    UNCHECKED = "unchecked"


class Relation(str, Enum):
    """A cell's latency against the reference's.

    `EQUAL`: the interval lies within the margin. `SLOWER` and `FASTER`: it excludes 1 and is not
    within the margin. `UNCLEAR`: it is too wide for any of these, there is none, or
    the blocks that were rejected say the contrary.
    """

    REFERENCE = "reference"
    FASTER = "faster"
    SLOWER = "slower"
    EQUAL = "equal"
    UNCLEAR = "unclear"


class RoundMedian(Frozen):
    """A round is a launch; those of one replicate are compared with each other."""

    round: int
    replicate: int
    median_ns: int


class LatencyView(Frozen):
    """Of all samples that are evidence: of accepted blocks, or of sustained runs without any.

    `measured` is false for figures that were played from a script. `median_ns` is the middle of the
    rounds' medians; `low_ns` and `high_ns` hold its interval.
    """

    measured: bool
    median_ns: int
    low_ns: int | None
    high_ns: int | None
    p10_ns: int
    p90_ns: int
    p99_ns: int | None = Field(description="null with fewer than 1,000 samples")
    min_ns: int
    samples: int
    rounds: tuple[RoundMedian, ...]


class LoadView(Frozen):
    """Loads of one kind; `compile_ns` is the median of what was compiling, if the engine tells."""

    kind: LoadKind
    loads: int
    median_ns: int
    min_ns: int
    max_ns: int
    compile_ns: int | None


class MemoryView(Frozen):
    """Resident in the process, which holds all cells of its round.

    `alone_bytes` is the median after loads before which nothing was loaded, null where the cell
    never came first; `growth_bytes` what its load added, where the state before is known.
    """

    alone_bytes: int | None
    growth_bytes: int | None
    peak_bytes: int


class WarmUpView(Frozen):
    """`steady` of `rounds` ended because the latency held still; `first_ns` is the median of the
    first inferences."""

    rounds: int
    steady: int
    first_ns: int


class PacedView(Frozen):
    """One inference every `interval_ns`. `late_share` began late by more than a tenth of it, null
    where nobody tells; `overrun_share` took longer than it."""

    interval_ns: int
    median_ns: int
    p90_ns: int
    samples: int
    late_share: float | None
    overrun_share: float


class StretchView(Frozen):
    """The median of about a second of a sustained run."""

    at_ns: int
    median_ns: int


class SustainedView(Frozen):
    """Back to back: medians of the first and the last tenth of the time, of the longest run."""

    round: int
    duration_ns: int
    first_ns: int
    last_ns: int
    slowdown: float
    samples: int
    curve: tuple[StretchView, ...]


class SingleStreamView(Frozen):
    """As MLPerf's single stream reports; `complete` with 1,024 samples of 60 s."""

    p90_ns: int
    samples: int
    duration_ns: int
    complete: bool


class ToldView(Frozen):
    """Another tool's own figures of what it measured: without samples, with no interval.
    `figure_ns` is one number of which it does not say what it is."""

    what: str
    count: int | None
    figure_ns: int | None
    mean_ns: int | None
    median_ns: int | None
    min_ns: int | None
    max_ns: int | None
    p90_ns: int | None
    p99_ns: int | None


class AnswersView(Frozen):
    """`worst_psnr_db` is null where all answers were exact or nothing was judged; `partial` where
    only every so manieth element was."""

    state: AnswerState
    judged: int
    wrong: int
    worst_psnr_db: float | None
    partial: bool


class FindingView(Frozen):
    """Something about validity; an invalid finding takes its rows out of every comparison.

    `rows` are indices of cells, none for all of the session; `rounds` are numbers, none for all."""

    code: str
    severity: Severity
    detail: str
    rows: tuple[int, ...]
    rounds: tuple[int, ...] = ()


class FailureView(Frozen):
    """A cell that failed, in these rounds."""

    code: str
    detail: str
    rounds: tuple[int, ...]


class RatioView(Frozen):
    """How many times the latency of the reference row this one has, replicate by replicate."""

    reference: int = Field(description="index of the row that is compared with")
    relation: Relation
    ratio: float
    low: float | None
    high: float | None
    replicates: tuple[float, ...] = Field(description="of each round, or replicate")
    paired: str | None = Field(description="block: in the same blocks; or replicate")
    load_sd: float | None = Field(description="of the log ratio, what comes with each load")


class RowView(Frozen):
    """One cell. Rows that do not differ from the first of their rank share it."""

    index: int = Field(description="position in the plan")
    id: str
    label: str
    role: Role
    bundle: BundleFacts
    engine: str
    engine_version: str | None
    backend: str | None
    unit_asked: Unit
    unit_observed: Unit | None
    threads_asked: int
    threads_observed: int | None
    cores_asked: tuple[int, ...] | None
    cores_observed: tuple[int, ...] | None
    placement: dict[str, int] | None
    valid: bool
    rank: int | None
    latency: LatencyView | None
    ratio: RatioView | None
    loads: tuple[LoadView, ...]
    memory: MemoryView | None
    warm_up: WarmUpView | None
    paced: PacedView | None
    sustained: SustainedView | None
    single_stream: SingleStreamView | None = Field(description="with the preset mlperf")
    told: tuple[ToldView, ...] = Field(description="of an imported record")
    answers: AnswersView
    failures: tuple[FailureView, ...]


class ConclusionView(Frozen):
    """The one sentence. `code` tells why nothing can be said, or `differs`, `equal`, `unclear`."""

    code: Literal[
        "differs",
        "equal",
        "unclear",
        "one-cell",
        "one-round",
        "invalid",
        "functional",
        "not-comparable",
        "nothing-measured",
    ]
    text: str
    rows: tuple[int, ...] = Field((), description="faster first, where two are compared")


class RoundView(Frozen):
    """A launch that is no evidence."""

    round: int
    status: RoundStatus
    code: str | None
    detail: str


class SkippedView(Frozen):
    """What was asked for and is not in the session, with what to do."""

    name: str
    reason: str
    remedy: str = ""


class SessionView(Frozen):
    """Rows that can be compared come first, from the fastest on (or the base cells first)."""

    schema_version: Literal[2] = 2
    session: str
    started: str
    kind: RecordKind
    device: DeviceReference
    machine: Machine | None
    harness: str | None
    preset: str
    seed: int
    rounds_completed: int
    rounds_planned: int
    blocks_accepted: int
    blocks_rejected: int
    rejected: dict[str, int] = Field(description="blocks by why they were rejected")
    waited_ns: int
    resumed: int
    complete: bool = Field(description="closed, with every round that was planned")
    ended: str = Field(description="why it ended early, if it did")
    margin: float = Field(description="relative; within it two latencies count as equal")
    lacks: tuple[str, ...]
    origin: str
    rows: tuple[RowView, ...]
    findings: tuple[FindingView, ...]
    lost: tuple[RoundView, ...]
    skipped: tuple[SkippedView, ...]
    passed_over: tuple[SkippedView, ...]
    conclusion: ConclusionView
    record: str | None = Field(description="the record's file")

    def row(self, index: int) -> RowView:
        """The row of the cell at a position of the plan."""
        return next(row for row in self.rows if row.index == index)


def session_view_schema() -> dict[str, Any]:
    """JSON Schema of what `--json` prints."""
    return SessionView.model_json_schema(mode="serialization")
