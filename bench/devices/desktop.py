"""The machine this runs on, with the runtimes that parity uses too."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from care_mobile.bundle import Bundle
from care_mobile.errors import CareError, UsageError
from care_mobile.requirements import Availability, tool_versions
from care_mobile.runtimes import RuntimeOptions, Session, get_runtime
from care_mobile.runtimes.noise import seeded_inputs
from care_mobile.runtimes.trial import Trials

from ..environment import ComputeUnit, Environment, Machine, RuntimeFacts
from ..plan import MeasurementPlan
from ..record import Outcome, RecordKind, RunRecord, RunWarning, WarningCode
from ..runner import Inference, Instruments, Measurement, Progress, measure
from .base import RecordContext, SessionStamp, make_record
from .host import describe_host, read_sensors, usable_cpus

_UNITS = {"coreml": ComputeUnit.ALL}
"""Units that runtimes are asked to use, where that is not the cpu alone."""


class DesktopDevice:
    """All bundles live in this process, each in a session of its own."""

    name = "desktop"
    reads = frozenset({"threads", "affinity"} if hasattr(os, "sched_setaffinity") else {"threads"})

    def __init__(self, instruments: Instruments | None = None) -> None:
        self._instruments = instruments or Instruments(observe=read_sensors)
        self._saved_affinity: set[int] | None = None
        self._sessions: dict[int, Session] = {}
        self._inferences: dict[int, Inference] = {}

    def availability(self) -> Availability:
        machine = self.describe()
        return Availability(True, f"{machine.soc}, {machine.cores} cores, {machine.os}")

    def supports(self, bundle: Bundle) -> Availability:
        try:
            return get_runtime(bundle.manifest.runtime).availability()
        except UsageError as error:
            return Availability(False, str(error), error.hint)

    def describe(self) -> Machine:
        return describe_host(self.name)

    def prepare(self, plan: MeasurementPlan, bundles: Sequence[Bundle]) -> None:
        check_cpus(plan.threads, plan.affinity, usable_cpus())
        self._plan, self._bundles = plan, tuple(bundles)
        self._warnings: list[RunWarning] = []
        self._refused: dict[int, CareError] = {}
        # Before any runtime starts its threads: they inherit the affinity of this one.
        self._pin(plan.affinity)
        with Trials() as trials:
            for index in plan.load_order:
                self._attempt(index, lambda i: self._try(trials, i))
        for index in plan.load_order:
            self._attempt(index, self._load)

    def _attempt(self, index: int, step: Callable[[int], None]) -> None:
        """A bundle that fails ends there with its reason; the others go on."""
        if index in self._refused:
            return
        try:
            step(index)
        except CareError as error:
            self._refused[index] = error

    def _try(self, trials: Trials, index: int) -> None:
        bundle = self._bundles[index]
        trials.check(bundle, bundle.manifest.runtime, self._plan.threads)

    def _load(self, index: int) -> None:
        bundle = self._bundles[index]
        session = get_runtime(bundle.manifest.runtime).load(
            bundle, RuntimeOptions(self._plan.threads)
        )
        self._inferences[index] = session.bind(seeded_inputs(bundle, self._plan.input_seed))
        self._sessions[index] = session

    def measure(self, stamp: SessionStamp, progress: Callable[[Progress], None]) -> list[RunRecord]:
        plan = self._plan
        machine = self.describe()
        results = measure(plan, self._inferences, replace(self._instruments, progress=progress))
        for index, error in self._refused.items():
            results[index] = Measurement(outcome=Outcome.FAILED, reason=str(error))
        context = RecordContext(stamp, plan, RecordKind.LATENCY, self._warnings)
        return [
            make_record(context, index, bundle, self._environment(index, machine), results[index])
            for index, bundle in enumerate(self._bundles)
        ]

    def close(self) -> None:
        self._inferences.clear()
        self._sessions.clear()
        if self._saved_affinity is not None:
            os.sched_setaffinity(0, self._saved_affinity)
            self._saved_affinity = None

    def _pin(self, cpus: tuple[int, ...] | None) -> None:
        if cpus is None:
            return
        if not hasattr(os, "sched_setaffinity"):
            detail = "this system cannot pin a process to cpus; it ran on any"
            code = WarningCode.AFFINITY_NOT_SUPPORTED
            self._warnings.append(RunWarning(code=code, detail=detail))
            return
        self._saved_affinity = set(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus)

    def _environment(self, index: int, machine: Machine) -> Environment:
        name = self._bundles[index].manifest.runtime
        session = self._sessions.get(index)
        told: Mapping[str, str] = session.describe() if session else {}
        unit = _UNITS.get(name, ComputeUnit.CPU)
        facts = RuntimeFacts(
            name=name,
            version=told.get("version", "unknown"),
            backend=told.get("backend", "unknown"),
            requested_unit=unit,
            # Where the runtime chooses, it does not tell what it chose.
            observed_unit=None if session is None or unit is ComputeUnit.ALL else unit,
            threads=int(told["threads"]) if "threads" in told else None,
            affinity=self._plan.affinity if self._saved_affinity is not None else None,
        )
        return Environment(machine=machine, runtime=facts, tools=tool_versions())


def check_cpus(threads: int, affinity: tuple[int, ...] | None, cpus: Sequence[int]) -> None:
    """Refuse threads and affinity that `cpus`, the usable ones, cannot serve.

    Raises:
        UsageError: naming what is there.
    """
    listed = ",".join(str(cpu) for cpu in cpus)
    missing = sorted(set(affinity or ()) - set(cpus))
    if missing:
        raise UsageError(
            f"affinity: there is no usable cpu {','.join(map(str, missing))}",
            f"this process may use {listed}",
        )
    room = len(affinity or cpus)
    if threads > room:
        raise UsageError(
            f"{threads} threads do not fit on {room} {'cpu' if room == 1 else 'cpus'}",
            f"give --threads {room} or less" + (", or more cpus in --affinity" * bool(affinity)),
        )
