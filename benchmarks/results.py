"""What a comparison found: the JSON beside the document, and all that the document says."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import AwareDatetime

from care_mobile.bench.protocol.events import Machine
from care_mobile.frozen import Frozen


class Role(str, Enum):
    """`PART` is a network of some of the layers alone."""

    OURS = "ours"
    NAIVE = "naive"
    PART = "part"


class Ratio(Frozen):
    """A paired ratio with its 95 % interval over rounds, which one round does not give."""

    value: float
    low: float | None
    high: float | None


class Latency(Frozen):
    """Of all rounds' samples, in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float


class OperatorTime(Frozen):
    """What one kind of operator takes in one inference: a median, summed over its nodes."""

    operator: str
    nodes: int
    ms: float


class Contestant(Frozen):
    """A bundle that was measured.

    Attributes:
        census: operations of the file by type, inside and outside delegates.
        outside: operations that the accelerated backend left to others, by name.
        export_seconds: ours prove, lower in a process of their own and verify; the naive ones
            convert, their packages imported before.
        parity: status of ours; PSNR on noise in dB where it was measured.
        to_ours: its latency in latencies of our fp32 bundle.
        samples_ns: by round and block, in the order they were taken.
    """

    name: str
    role: Role
    summary: str
    precision: str
    size_bytes: int
    export_seconds: float
    operations: int
    census: dict[str, int]
    partitions: int | None
    outside: dict[str, int]
    parity: str
    psnr_db: float | None
    latency: Latency
    to_ours: Ratio
    samples_ns: tuple[tuple[tuple[int, ...], ...], ...]
    operators: tuple[OperatorTime, ...] = ()
    warnings: tuple[str, ...] = ()


class Verdict(str, Enum):
    """`UNCERTAIN`: the interval holds the limit."""

    REACHED = "reached"
    MISSED = "missed"
    UNCERTAIN = "uncertain"
    NOT_MEASURED = "not measured"


class Figure(Frozen):
    """A figure to reach, for one network on one runtime. `value` is None if not measured."""

    title: str
    limit: float
    value: Ratio | None
    verdict: Verdict
    unit: Literal["count", "times", "percent"]


class Contest(Frozen):
    """One session: a network's bundles for one runtime, interleaved."""

    model: str
    target: str
    runtime: str
    version: str
    session_id: str
    contestants: tuple[Contestant, ...]
    figures: tuple[Figure, ...]
    failures: tuple[str, ...] = ()

    def part(self, title: str) -> Contestant | None:
        """The layers of this title alone, if they were measured."""
        return next((c for c in self.contestants if c.summary == title), None)

    def ours(self, precision: str) -> Contestant | None:
        """Our bundle in this precision, if there is one."""
        found = (c for c in self.contestants if c.role is Role.OURS and c.precision == precision)
        return next(found, None)

    def best_naive(self) -> Contestant:
        """The naive export with the lowest median."""
        naive = [c for c in self.contestants if c.role is Role.NAIVE]
        return min(naive, key=lambda c: c.latency.median_ms)


class Comparison(Frozen):
    """Everything one call measured. `cpu` is the one everything was pinned to; each of `launches`
    loads all bundles afresh and runs `blocks` of `iterations` inferences of each.
    """

    schema_version: Literal[2] = 2
    command: str
    revision: str | None
    created: AwareDatetime
    seconds: float
    machine: Machine
    tools: dict[str, str]
    cpu: int
    launches: int
    blocks: int
    iterations: int
    seed: int
    quick: bool
    precisions: tuple[str, ...]
    contests: tuple[Contest, ...]
