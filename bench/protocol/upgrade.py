"""Sessions of records of the first version.

There a session was one process that loaded every bundle once: one round. Its blocks, its order and
its samples stay as they were; what it did not keep is named in `lacks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from care_mobile.frozen import first_problem

from . import v1
from .arithmetic import warm_latency_ns
from .base import MAX_CORE, MAX_NS, MAX_THREADS, Contract, date_of
from .events import (
    Block,
    CellBurst,
    Clock,
    Engine,
    Failed,
    HarnessInfo,
    Hello,
    Loaded,
    Machine,
    Note,
    Read,
    Reading,
    Reality,
    Warm,
)
from .foreign import (
    UNKNOWN,
    Lack,
    LaunchLines,
    closing,
    code_of,
    detail_of,
    id_of,
    in_parts,
    name_of,
)
from .plan import (
    BundleFacts,
    Burst,
    Cell,
    Gate,
    LoadKind,
    Phase,
    Plan,
    Round,
    Thermal,
    Unit,
    Warmup,
)
from .reading import RecordError
from .record import DeviceReference, RecordKind, RoundStatus, SessionOpened

ORIGIN = "care-bench record, version 1"
_LACKS = (Lack.NO_ROUNDS, Lack.NO_ANSWERS, Lack.NO_CONTENT, Lack.NO_CPU_TIME, Lack.NO_LOAD_TIME)
_LAUNCH = "v1"


def upgrade(records: Sequence[v1.RunRecord]) -> tuple[Contract, ...]:
    """The lines of a session from all its records, in any order, or from some of them.

    Raises:
        RecordError: if they are not of one session.
    """
    ordered = sorted(records, key=lambda record: record.bundle_index)
    first = ordered[0]
    for record in ordered:
        if (record.session_id, record.plan) != (first.session_id, first.plan):
            raise RecordError(
                f"the records of {record.bundle.name} and {first.bundle.name} are not of one "
                "session",
                "put each session's records into a folder of their own",
            )
    if len({record.bundle_index for record in ordered}) != len(ordered):
        raise RecordError("two records are of the same bundle of a session", "remove one of them")
    try:
        return _lines(ordered)
    except ValidationError as error:
        raise RecordError(f"a record cannot be carried over: {first_problem(error)}") from error


def _lines(records: list[v1.RunRecord]) -> tuple[Contract, ...]:
    first, started = records[0], date_of(records[0].started)
    plan = _plan(records, started)
    lacks = list(_LACKS)
    if len(records) < len(first.plan.bundles):
        lacks.append(Lack.OTHER_BUNDLES)
    opened = SessionOpened(
        session=plan.session,
        started=started,
        kind=_kind(first),
        device=DeviceReference(kind=code_of(first.environment.machine.device)),
        tools={name_of(k): name_of(v) for k, v in first.environment.tools.items()},
        lacks=tuple(lack.value for lack in lacks),
        origin=ORIGIN,
        plan=plan,
    )
    launch = _launch(records, plan, started)
    return (opened, *launch, closing(plan, [launch], started))


def _kind(record: v1.RunRecord) -> RecordKind:
    if any(warning.code is v1.WarningCode.SCRIPTED for warning in record.warnings):
        return RecordKind.SCRIPTED
    return RecordKind(record.kind.value)


def _plan(records: list[v1.RunRecord], started: str) -> Plan:
    old = records[0].plan
    place = {record.bundle_index: i for i, record in enumerate(records)}
    measured = records[0].kind is v1.RecordKind.LATENCY
    rows = tuple(tuple(place[i] for i in row if i in place) for row in old.order)
    only = Round(
        number=0,
        replicate=0,
        load=LoadKind.UNPROVEN,
        cells=tuple(place[i] for i in old.load_order if i in place),
        blocks=rows if measured else (),
        phases=(Phase.BURST,) if measured else (),
    )
    return Plan(
        session=id_of(records[0].session_id),
        created=started,
        seed=old.seed if 0 <= old.seed <= MAX_NS else 0,
        cells=tuple(_cell(record) for record in records),
        rounds=(only,),
        warmup=_warmup(old.warmup),
        burst=Burst(
            target_ns=_ns(old.burst.block_seconds),
            min_iterations=old.burst.min_iterations,
            max_iterations=old.burst.max_iterations,
            pause_ns=_ns(old.pause_seconds),
        ),
        gate=Gate(  # there was none
            thermal=Thermal.SHUTDOWN,
            control_ns=0,
            control_drift_permille=None,
            retries=0,
            cooldown_ns=0,
            max_cooldown_ns=0,
        ),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _warmup(old: v1.WarmupRules) -> Warmup:
    return Warmup(
        window=old.window,
        tolerance_permille=round(old.tolerance * 1000),
        min_iterations=old.min_iterations,
        min_ns=_ns(old.min_seconds),
        max_iterations=old.max_iterations,
        max_ns=_ns(old.max_seconds),
    )


def _cell(record: v1.RunRecord) -> Cell:
    bundle, runtime = record.bundle, record.environment.runtime
    return Cell(
        id=id_of(f"{record.bundle_index}-{bundle.name}"),
        label=name_of(bundle.name),
        bundle=BundleFacts(
            name=name_of(bundle.name),
            model=bundle.model,
            target=bundle.target,
            precision=bundle.precision,
            resolution=name_of(bundle.resolution),
            weights_source=name_of(bundle.weights_source),
            random_weights=bundle.random_weights,
            size_bytes=bundle.size_bytes,
        ),
        engine=code_of(runtime.name),
        unit=Unit(runtime.requested_unit.value),
        threads=min(record.plan.threads, MAX_THREADS),
        cores=_cores(record.plan.affinity),
    )


def _cores(affinity: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if affinity is None:
        return None
    return tuple(core for core in affinity if 0 <= core <= MAX_CORE)


def _launch(records: list[v1.RunRecord], plan: Plan, started: str) -> list[Contract]:
    launch = LaunchLines(0, _LAUNCH, started)
    launch.say(
        Hello,
        session=plan.session,
        round=0,
        launch=_LAUNCH,
        started=started,
        harness=HarnessInfo(name="care-bench", version="1", language="python"),
        clock=Clock(name=UNKNOWN, resolution_ns=0),
        machine=_machine(records[0].environment.machine),
        readings=_identity(records[0].environment.machine),
    )
    for cell in plan.rounds[0].cells:
        launch.say(Loaded, cell=cell, kind=LoadKind.UNPROVEN, **_loaded(records[cell]))
    for cell in plan.rounds[0].cells:
        _say_warm(launch, cell, records[cell])
    for number, bursts in _blocks(records, plan):
        start_ns, end_ns = min(b.start_ns for b in bursts), max(b.end_ns for b in bursts)
        launch.say(Block, end_ns, block=number, start_ns=start_ns, end_ns=end_ns, bursts=bursts)
    for part in in_parts(_readings(records)):
        launch.say(Read, max(reading.at_ns for reading in part), readings=part)
    for cell, record in enumerate(records):
        _say_notes(launch, cell, record)
    lost = any(record.outcome is v1.Outcome.DEVICE_LOST for record in records)
    return launch.lines(RoundStatus.LOST if lost else RoundStatus.COMPLETED)


def _machine(old: v1.Machine) -> Machine:
    virtual = {True: Reality.VIRTUAL, False: Reality.PHYSICAL, None: Reality.UNKNOWN}
    scripted = old.device == "scripted"
    return Machine(
        model=UNKNOWN,
        reality=Reality.SCRIPT if scripted else virtual[old.virtualised],
        os=name_of(old.os),
        os_build=name_of(old.os_build),
        architecture=name_of(old.architecture),
        soc=name_of(old.soc),
        cores=old.cores,
    )


def _identity(old: v1.Machine) -> tuple[Reading, ...]:
    """What counted as the machine's and is a momentary reading now."""
    found = [Reading(at_ns=0, kind="host", state=name_of(old.name))]
    if old.governor is not None:
        found.append(Reading(at_ns=0, kind="governor", state=name_of(old.governor)))
    if old.frequency_khz is not None and abs(old.frequency_khz) <= MAX_NS:
        found.append(Reading(at_ns=0, kind="frequency", value=old.frequency_khz))
    return tuple(found)


def _loaded(record: v1.RunRecord) -> dict[str, object]:
    runtime = record.environment.runtime
    observed = runtime.observed_unit
    threads = runtime.threads
    return {
        "engine": Engine(
            name=code_of(runtime.name),
            version=name_of(runtime.version),
            backend=name_of(runtime.backend),
        ),
        "unit": None if observed is None else Unit(observed.value),
        "threads": threads if threads is not None and 0 <= threads <= MAX_THREADS else None,
        "cores": _cores(runtime.affinity),
    }


def _say_warm(launch: LaunchLines, cell: int, record: v1.RunRecord) -> None:
    samples = record.warmup_ns
    if not samples:
        return
    capped = any(w.code is v1.WarningCode.WARMUP_CAPPED for w in record.warnings)
    launch.say(
        Warm,
        cell=cell,
        iterations=len(samples),
        first_ns=samples[0],
        latency_ns=warm_latency_ns(samples, _warmup(record.plan.warmup)),
        total_ns=sum(samples),
        steady=not capped,
    )


def _blocks(records: list[v1.RunRecord], plan: Plan) -> Iterator[tuple[int, tuple[CellBurst, ...]]]:
    """Numbers and bursts, whose ends are not known: after the last inference at the earliest."""
    held = [{block.number: block for block in record.blocks} for record in records]
    for number, row in enumerate(plan.rounds[0].blocks):
        bursts = tuple(
            CellBurst(
                cell=cell,
                start_ns=block.start_ns,
                end_ns=block.start_ns + sum(block.samples_ns),
                samples_ns=block.samples_ns,
            )
            for cell in row
            if (block := held[cell].get(number)) is not None
        )
        if bursts:
            yield number, bursts


def _readings(records: list[v1.RunRecord]) -> list[Reading]:
    """Every record of a session holds all its readings: each counts once, in order of time."""
    found = {reading: None for record in records for reading in _of(record)}
    return sorted(found, key=lambda reading: reading.at_ns)


def _of(record: v1.RunRecord) -> Iterator[Reading]:
    for heat in record.thermal:
        name = name_of(heat.sensor)
        if heat.celsius is not None and abs(heat.celsius) < 1e6:
            value = round(heat.celsius * 1000)
            yield Reading(at_ns=heat.at_ns, kind="temperature", name=name, value=value)
        if heat.status is not None:
            status = heat.status.value
            yield Reading(at_ns=heat.at_ns, kind="thermal", name=name, state=status)
    states = {True: "charging", False: "discharging", None: None}
    for battery in record.battery:
        value, state = round(battery.level_percent * 10), states[battery.charging]
        yield Reading(at_ns=battery.at_ns, kind="battery", value=value, state=state)
    for memory in record.memory:
        yield Reading(at_ns=memory.at_ns, kind="memory", value=memory.resident_bytes)


def _say_notes(launch: LaunchLines, cell: int, record: v1.RunRecord) -> None:
    for warning in record.warnings:
        launch.say(Note, code=warning.code.value, detail=detail_of(warning.detail), cell=cell)
    for counted, number in record.counts.items():
        launch.say(Note, code="count", detail=detail_of(f"{counted}: {number}"), cell=cell)
    if record.outcome is not v1.Outcome.COMPLETED:
        reason = detail_of(record.reason)
        launch.say(Failed, code=record.outcome.value, detail=reason, cell=cell)
