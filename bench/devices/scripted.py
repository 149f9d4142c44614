"""A device that plays a script instead of running networks: for tests and for trying reports.

The real measuring loop runs against a clock the script moves, so a session takes no time. Its
latencies carry the warning `scripted` and can never be taken for measured ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from care_mobile.bundle import Bundle
from care_mobile.errors import RuntimeFailure, UsageError
from care_mobile.files import read_small
from care_mobile.frozen import first_problem
from care_mobile.requirements import Availability

from ..environment import (
    ComputeUnit,
    Environment,
    Machine,
    Readings,
    RuntimeFacts,
    ThermalReading,
    ThermalStatus,
)
from ..plan import MAX_BLOCKS, MAX_NS, Contract, MeasurementPlan
from ..record import RecordKind, RunRecord, RunWarning, WarningCode
from ..runner import DeviceLostError, Instruments, Measurement, Progress, measure
from .base import RecordContext, SessionStamp, make_record

MAX_LATENCY_NS = 3600 * 10**9
MAX_EVENTS = 1000
MAX_SCRIPT_BYTES = 2**26
_MAX_SLOWDOWN = 1e9


class EventKind(str, Enum):
    THROTTLE = "throttle"
    FAIL = "fail"
    DISAPPEAR = "disappear"


class Event(Contract):
    """Something that happens when `block` begins.

    `throttle` multiplies latencies by `factor` from then on and heats the device, `fail` makes
    `bundle` fail, `disappear` takes the device away.
    """

    kind: EventKind
    block: int = Field(ge=0, lt=MAX_BLOCKS)
    bundle: str | None = None
    factor: float = Field(default=2.0, ge=0.001, le=1000)


Latency = Annotated[int, Field(ge=0, le=MAX_LATENCY_NS)]


class Script(Contract):
    """Latencies by bundle name, repeated as often as needed; `default_ns` for all others."""

    latencies_ns: dict[str, tuple[Latency, ...]] = Field(default_factory=dict)
    default_ns: tuple[Latency, ...] = Field(default=(1_000_000,), min_length=1)
    events: tuple[Event, ...] = Field(default=(), max_length=MAX_EVENTS)
    functional: bool = Field(default=False, description="play a simulator: counts, no latencies")


def read_script(file: Path) -> Script:
    """The script in a JSON file.

    Raises:
        UsageError: if it cannot be read or is none.
    """
    try:
        return Script.model_validate_json(read_small(file, MAX_SCRIPT_BYTES))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "write --device scripted=FILE") from error
    except ValidationError as error:
        raise UsageError(f"{file}: {first_problem(error)}") from error


class ScriptedDevice:
    """See the module's docstring."""

    name = "scripted"
    reads: frozenset[str] = frozenset()

    def __init__(self, script: Script) -> None:
        self._script = script
        self._now_ns = 0
        self._block: int | None = None

    def availability(self) -> Availability:
        return Availability(True, "plays latencies from a script")

    def supports(self, bundle: Bundle) -> Availability:
        return Availability(True, "any bundle")

    def describe(self) -> Machine:
        return Machine(
            device=self.name,
            name="script",
            os="none",
            os_build="none",
            architecture="none",
            soc="none",
            cores=1,
        )

    def prepare(self, plan: MeasurementPlan, bundles: Sequence[Bundle]) -> None:
        self._plan, self._bundles = plan, tuple(bundles)

    def measure(self, stamp: SessionStamp, progress: Callable[[Progress], None]) -> list[RunRecord]:
        def watch(event: Progress) -> None:
            self._block = event.block
            progress(event)

        instruments = Instruments(self._now, self._sleep, self._observe, watch)
        players = {index: self._player(bundle) for index, bundle in enumerate(self._bundles)}
        results = measure(self._plan, players, instruments)
        return self._records(stamp, results)

    def close(self) -> None:
        return None

    def _records(self, stamp: SessionStamp, results: dict[int, Measurement]) -> list[RunRecord]:
        functional = self._script.functional
        code = WarningCode.FUNCTIONAL_ONLY if functional else WarningCode.SCRIPTED
        warning = RunWarning(code=code, detail="played from a script, not measured")
        kind = RecordKind.FUNCTIONAL if functional else RecordKind.LATENCY
        context = RecordContext(stamp, self._plan, kind, (warning,))
        records = []
        for index, bundle in enumerate(self._bundles):
            result, counts = results[index], {}
            if functional:
                counts = {"inferences": sum(len(b.samples_ns) for b in result.blocks)}
                result = Measurement(outcome=result.outcome, reason=result.reason)
            environment = self._environment(bundle)
            records.append(make_record(context, index, bundle, environment, result, counts=counts))
        return records

    def _environment(self, bundle: Bundle) -> Environment:
        facts = RuntimeFacts(
            name=bundle.manifest.runtime,
            version="none",
            backend="script",
            requested_unit=ComputeUnit.CPU,
            threads=self._plan.threads,
        )
        return Environment(machine=self.describe(), runtime=facts, tools={})

    def _player(self, bundle: Bundle) -> Callable[[], None]:
        latencies = self._script.latencies_ns.get(bundle.name) or self._script.default_ns
        cycle = itertools.cycle(latencies)

        def play() -> None:
            for event in self._happened():
                if event.kind is EventKind.DISAPPEAR:
                    raise DeviceLostError("the device disappeared, as its script says")
                if event.kind is EventKind.FAIL and event.bundle in (None, bundle.name):
                    raise RuntimeFailure(f"{bundle.name}: failed, as its script says")
            self._pass(next(cycle) * self._slowdown())

        return play

    def _happened(self) -> Iterator[Event]:
        if self._block is not None:
            yield from (e for e in self._script.events if e.block <= (self._block or 0))

    def _slowdown(self) -> float:
        factor = 1.0
        for event in self._happened():
            if event.kind is EventKind.THROTTLE:
                factor = min(factor * event.factor, _MAX_SLOWDOWN)
        return factor

    def _now(self) -> int:
        return self._now_ns

    def _sleep(self, seconds: float) -> None:
        self._pass(seconds * 1e9)

    def _pass(self, time_ns: float) -> None:
        """Let time pass, as far as the numbers of a record go.

        Raises:
            DeviceLostError: if they go no further.
        """
        if self._now_ns + time_ns >= MAX_NS:
            raise DeviceLostError("the clock of the script ran over: its latencies are too long")
        self._now_ns += round(time_ns)

    def _observe(self, at_ns: int) -> Readings:
        hot = self._slowdown() > 1.0
        status = ThermalStatus.SEVERE if hot else ThermalStatus.NOMINAL
        return Readings(thermal=(ThermalReading(at_ns=at_ns, sensor="script", status=status),))
