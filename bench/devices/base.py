"""What every device offers: run a plan, give back records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from care_mobile.bundle import Bundle
from care_mobile.requirements import Availability

from ..environment import Environment, Machine
from ..plan import MeasurementPlan
from ..record import MeasuredBundle, RecordKind, RunRecord, RunWarning
from ..runner import Measurement, Progress


@dataclass(frozen=True)
class SessionStamp:
    """Which session records belong to."""

    session_id: str
    started: datetime


class Device(Protocol):
    """Something bundles can be measured on.

    Bundles of one session are interleaved, so a device prepares them together and `measure`
    gives one record per bundle of the plan, in the plan's order, also for those that failed.
    """

    name: str
    reads: frozenset[str]
    """Which of a plan's `threads` and `affinity` it heeds."""

    def availability(self) -> Availability:
        """Whether the device itself is there."""
        ...

    def supports(self, bundle: Bundle) -> Availability:
        """Whether it can run this bundle, with the reason if not."""
        ...

    def describe(self) -> Machine: ...

    def prepare(self, plan: MeasurementPlan, bundles: Sequence[Bundle]) -> None:
        """Bring the plan's bundles (same order) to the device, loaded and ready to run.

        Raises:
            UsageError: if the device cannot run such a plan.
            CareError: if the device refuses.
        """
        ...

    def measure(self, stamp: SessionStamp, progress: Callable[[Progress], None]) -> list[RunRecord]:
        """Run the prepared plan."""
        ...

    def close(self) -> None:
        """Leave the device as it was found; may be called at any time, more than once."""
        ...


@dataclass(frozen=True)
class RecordContext:
    """What the records of one session share."""

    stamp: SessionStamp
    plan: MeasurementPlan
    kind: RecordKind
    warnings: Sequence[RunWarning] = ()


def make_record(
    context: RecordContext,
    index: int,
    bundle: Bundle,
    environment: Environment,
    measurement: Measurement,
    *,
    counts: Mapping[str, int] | None = None,
) -> RunRecord:
    """The record of the plan's bundle `index`."""
    return RunRecord(
        kind=context.kind,
        session_id=context.stamp.session_id,
        started=context.stamp.started,
        plan=context.plan,
        bundle_index=index,
        bundle=MeasuredBundle.of(bundle),
        environment=environment,
        warmup_ns=tuple(measurement.warmup_ns),
        blocks=tuple(measurement.blocks),
        thermal=tuple(measurement.thermal),
        battery=tuple(measurement.battery),
        memory=tuple(measurement.memory),
        counts=dict(counts or {}),
        warnings=(*context.warnings, *measurement.warnings),
        outcome=measurement.outcome,
        reason=measurement.reason,
    )
