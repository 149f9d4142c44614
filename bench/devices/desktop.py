"""The machine this runs on: the reference harness, a fresh process per round."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from care_mobile.bundle import Bundle
from care_mobile.errors import UsageError
from care_mobile.importing import check as cannot_be_imported
from care_mobile.processes.peer import module_command
from care_mobile.requirements import Availability
from care_mobile.runtimes import get_runtime

from ..harness.machine import describe_machine
from ..harness.pinning import usable_cores
from ..harness.sensors import Sensors
from ..protocol.events import Reading
from ..protocol.plan import Cell, Plan, Unit
from ..protocol.record import DeviceReference, RecordKind
from .process import HARNESS, ProcessStation, opened


class DesktopDevice:
    """See the module's docstring."""

    name = "desktop"
    kind = RecordKind.LATENCY
    reads = frozenset(
        {"threads", "unit"} | ({"affinity"} if hasattr(os, "sched_setaffinity") else set())
    )
    reference = DeviceReference(kind="desktop")

    def availability(self) -> Availability:
        machine = describe_machine()
        return Availability(True, f"{machine.soc}, {machine.cores} cores, {machine.os}")

    def supports(self, bundle: Bundle) -> Availability:
        try:
            runtime = get_runtime(bundle.manifest.runtime)
        except UsageError as error:
            return Availability(False, str(error), error.hint)
        found = runtime.availability()
        # One that cannot be loaded would cost every round in which it is tried.
        problems = map(cannot_be_imported, runtime.modules) if found.usable else ()
        problem = next(filter(None, problems), None)
        return found if problem is None else Availability(False, problem, "see care-doctor")

    def engine(self, bundle: Bundle) -> str:
        return bundle.manifest.runtime

    def unit(self, bundle: Bundle) -> Unit:
        return Unit.ALL if bundle.manifest.runtime == "coreml" else Unit.CPU

    def check(self, plan: Plan) -> tuple[str, ...]:
        cpus = usable_cores()
        return tuple(refusal for cell in plan.cells if (refusal := refused(cell, cpus)))[:1]

    @contextmanager
    def open(self, plan: Plan, files: Mapping[str, Path]) -> Iterator[ProcessStation]:
        with opened(_Desktop, module_command(HARNESS), plan, files) as station:
            yield station


class _Desktop(ProcessStation):
    """Its sensors can be seen from here too."""

    def look(self) -> tuple[Reading, ...]:
        return Sensors().look(0)


def refused(cell: Cell, cpus: Sequence[int]) -> str:
    """Why threads and cores of a cell cannot be served by `cpus`; empty if they can."""
    listed = ",".join(str(cpu) for cpu in cpus)
    missing = sorted(set(cell.cores or ()) - set(cpus))
    if missing:
        which = ",".join(map(str, missing))
        return f"affinity: there is no usable cpu {which}; this process may use {listed}"
    room = len(cell.cores or cpus)
    if cell.threads > room:
        on = "1 cpu" if room == 1 else f"{room} cpus"
        return f"{cell.threads} threads do not fit on {on}"
    if cell.unit not in (Unit.CPU, Unit.ALL) and cell.engine != "coreml":
        return f"{cell.engine} runs on the cpu here, not on the {cell.unit.value}"
    return ""
