"""What `care-bench --json` prints, and the table shows: statistics derived from a session."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from care_mobile.selection import PassedOver

from .environment import Machine, RuntimeFacts
from .plan import Contract
from .record import MeasuredBundle, Outcome, RecordKind, RunRecord, RunWarning
from .session import SessionResult
from .stats import PairedRatio, Summary, paired_ratio, summarize


class ResultRow(Contract):
    """One bundle. Without a finished measurement `latency`, `rank` and the ratio are null."""

    index: int = Field(description="position among the bundles as they were given")
    rank: int | None = Field(description="1 is the lowest median")
    path: str
    bundle: MeasuredBundle
    runtime: RuntimeFacts
    kind: RecordKind
    outcome: Outcome
    reason: str
    warnings: tuple[RunWarning, ...]
    latency: Summary | None
    ratio_to_fastest: PairedRatio | None = Field(description="paired block by block")
    record: str = Field(description="file of the run record")


class SkippedRow(Contract):
    path: str
    reason: str
    remedy: str


class BenchResult(Contract):
    """Rows from the fastest bundle to the slowest, unfinished ones last. Times are in ns."""

    schema_version: Literal[1] = 1
    session_id: str
    started: AwareDatetime
    machine: Machine
    blocks: int
    seed: int
    rows: tuple[ResultRow, ...]
    skipped: tuple[SkippedRow, ...]
    passed_over: tuple[PassedOver, ...] = Field((), description="what was named and is no bundle")


def summarize_session(session: SessionResult) -> BenchResult:
    """Statistics of a session's records."""
    order = sorted(range(len(session.records)), key=lambda i: _sort_key(session.records[i]))
    fastest = session.records[order[0]]
    plan = fastest.plan
    return BenchResult(
        session_id=session.stamp.session_id,
        started=session.stamp.started,
        machine=fastest.environment.machine,
        blocks=plan.blocks,
        seed=plan.seed,
        rows=tuple(_row(session, i, rank, fastest) for rank, i in enumerate(order, 1)),
        skipped=tuple(
            SkippedRow(path=str(s.path), reason=s.reason.detail, remedy=s.reason.remedy)
            for s in session.skipped
        ),
        passed_over=session.passed_over,
    )


def bench_result_schema() -> dict[str, Any]:
    """JSON Schema of what `--json` prints."""
    return BenchResult.model_json_schema()


def _has_latency(record: RunRecord) -> bool:
    return record.kind is RecordKind.LATENCY and record.outcome is Outcome.COMPLETED


def _sort_key(record: RunRecord) -> tuple[bool, float, int]:
    if not _has_latency(record):
        return True, 0.0, record.bundle_index
    return False, summarize(record.samples_ns).median_ns, record.bundle_index


def _row(session: SessionResult, index: int, rank: int, fastest: RunRecord) -> ResultRow:
    record = session.records[index]
    measured = _has_latency(record)
    return ResultRow(
        index=index,
        rank=rank if measured else None,
        path=str(session.paths[index]),
        bundle=record.bundle,
        runtime=record.environment.runtime,
        kind=record.kind,
        outcome=record.outcome,
        reason=record.reason,
        warnings=record.warnings,
        latency=summarize(record.samples_ns) if measured else None,
        ratio_to_fastest=paired_ratio(record, fastest) if measured else None,
        record=str(session.files[index]),
    )
