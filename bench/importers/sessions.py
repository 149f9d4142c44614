"""Sessions of what other tools told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..protocol.base import MAX_CELLS, MAX_ROUNDS, MAX_THREADS, Contract
from ..protocol.events import (
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
)
from ..protocol.foreign import (
    UNKNOWN,
    Lack,
    LaunchLines,
    bounded_ns,
    closing,
    code_of,
    detail_of,
    id_of,
    name_of,
)
from ..protocol.plan import BundleFacts, Cell, LoadKind, Phase, Plan, Round, Unit
from ..protocol.record import DeviceReference, RecordKind, RoundStatus, SessionOpened, Summary
from .base import Measured, ToldLaunch, ToldMachine, ToldSession

_ALWAYS = (Lack.NO_ANSWERS, Lack.NO_CONTENT, Lack.NO_CPU_TIME, Lack.NO_DATE)


def lines_of_session(
    told: ToldSession, session: str, date: str, origin: str
) -> tuple[Contract, ...]:
    """The lines of a record.

    Raises:
        ValueError: if something is beyond the bounds of a record.
    """
    told = replace(told, launches=tuple(_distinct(launch) for launch in told.launches))
    keys = _keys(told)
    plan = _plan(told, keys, session, date)
    opened = SessionOpened(
        session=session,
        started=date,
        kind=RecordKind.IMPORTED,
        device=DeviceReference(kind=code_of(told.device)),
        tools={name_of(k): name_of(v) for k, v in told.tools.items()},
        lacks=tuple(lack.value for lack in Lack if lack in _lacks(told, plan)),
        origin=origin,
        plan=plan,
    )
    launches = [
        _launch(launch, told.machine, plan, number, keys, origin)
        for number, launch in enumerate(told.launches)
    ]
    lines = [line for launch in launches for line in launch]
    return (opened, *lines, closing(plan, launches, date))


def _key(measured: Measured) -> Measured:
    """What makes it the same thing in two launches: everything but what was found."""
    return replace(
        measured, samples_ns=(), load_ns=None, figures=(), failed=None, placement=None, ran_on=None
    )


def _distinct(launch: ToldLaunch) -> ToldLaunch:
    """What looks the same within a launch is counted, for it is not the same."""
    seen: list[Measured] = []
    kept = []
    for measured in launch.measured[: MAX_CELLS + 1]:
        again = seen.count(_key(measured))
        seen.append(_key(measured))
        label = f"{measured.label} ({again + 1})" if again else measured.label
        kept.append(replace(measured, label=label))
    return replace(launch, measured=tuple(kept))


def _keys(told: ToldSession) -> list[Measured]:
    found: list[Measured] = []
    if len(told.launches) > MAX_ROUNDS:
        raise ValueError(f"it has more than {MAX_ROUNDS} launches")
    for launch in told.launches:
        for measured in launch.measured:
            if _key(measured) not in found:
                found.append(_key(measured))
            if len(found) > MAX_CELLS:
                raise ValueError(f"it has more than {MAX_CELLS} things that were measured")
    return found


def _plan(told: ToldSession, keys: list[Measured], session: str, date: str) -> Plan:
    rounds: list[Round] = []
    for number, launch in enumerate(told.launches):
        cells = tuple(keys.index(_key(measured)) for measured in launch.measured)
        timed = any(measured.samples_ns for measured in launch.measured)
        rounds.append(
            Round(
                number=number,
                replicate=sum(cells[0] in r.cells for r in rounds),
                load=LoadKind.UNPROVEN,
                cells=cells,
                blocks=(cells,) if timed else (),
                phases=(Phase.BURST,) if timed else (),
            )
        )
    return Plan(
        session=session,
        created=date,
        preset="imported",
        cells=tuple(_cell(index, key) for index, key in enumerate(keys)),
        rounds=tuple(rounds),
    )


def _cell(index: int, key: Measured) -> Cell:
    return Cell(
        id=id_of(f"{index}-{key.label}"),
        label=name_of(key.label),
        bundle=BundleFacts(
            name=name_of(key.label),
            model=name_of(key.model or key.label),
            target=name_of(key.engine),
            precision=name_of(key.precision),
            resolution=UNKNOWN,
            weights_source=UNKNOWN,
            random_weights=False,
            size_bytes=0,
        ),
        engine=code_of(key.engine),
        unit=key.asked or Unit.ALL,
        threads=_threads(key) or 1,
    )


def _threads(measured: Measured) -> int | None:
    threads = measured.threads
    return threads if threads is not None and 1 <= threads <= MAX_THREADS else None


def _lacks(told: ToldSession, plan: Plan) -> set[Lack]:
    found = {*_ALWAYS, *told.lacks}
    loads = [sum(cell in r.cells for r in plan.rounds) for cell in range(len(plan.cells))]
    if min(loads) < 2:
        found.add(Lack.NO_ROUNDS)
    machine = told.machine
    if machine.model is None:
        found.add(Lack.NO_MACHINE)
    if machine.os_build is None:
        found.add(Lack.NO_OS_BUILD)
    for launch in told.launches:
        for measured in launch.measured:
            found.update(_lacks_of(measured))
    return found


def _lacks_of(measured: Measured) -> Iterator[Lack]:
    if measured.engine_version is None:
        yield Lack.NO_ENGINE_VERSION
    if measured.asked is None and measured.ran_on is None:
        yield Lack.NO_UNIT
    if measured.threads is None:
        yield Lack.NO_THREADS
    if measured.load_ns is None:
        yield Lack.NO_LOAD_TIME
    if not measured.warm:
        yield Lack.NO_WARM_UP
    if measured.samples_ns:
        yield Lack.NO_TIMES
    elif measured.failed is None:
        yield Lack.NO_SAMPLES
        told = [len(f.told) for f in measured.figures if f.what == "latency"]
        if sum(told) == 1:
            yield Lack.ONE_NUMBER
    if measured.averaged:
        yield Lack.AVERAGED


def _launch(
    told: ToldLaunch,
    machine: ToldMachine,
    plan: Plan,
    number: int,
    keys: list[Measured],
    origin: str,
) -> list[Contract]:
    name = f"imported-{number}"
    lines = LaunchLines(number, name, plan.created)
    lines.say(
        Hello,
        session=plan.session,
        round=number,
        launch=name,
        started=plan.created,
        harness=HarnessInfo(name=name_of(origin), version=UNKNOWN, language=UNKNOWN),
        clock=Clock(name=UNKNOWN, resolution_ns=0),
        machine=_machine(machine),
        readings=told.readings,
    )
    cells = [keys.index(_key(measured)) for measured in told.measured]
    pairs = list(zip(cells, told.measured, strict=True))
    for cell, measured in pairs:
        lines.say(Loaded, cell=cell, kind=LoadKind.UNPROVEN, **_loaded(measured))
    bursts = _bursts(pairs)
    if bursts:
        end_ns = bursts[-1].end_ns
        lines.say(Block, end_ns, block=0, start_ns=0, end_ns=end_ns, bursts=bursts)
    for code, words in told.notes:
        lines.say(Note, code=code_of(code), detail=detail_of(words))
    for cell, measured in pairs:
        if measured.failed is not None:
            code, words = measured.failed
            lines.say(Failed, code=code_of(code), detail=detail_of(words), cell=cell)
    summaries = [s for cell, measured in pairs for s in _summaries(number, cell, measured)]
    return lines.lines(RoundStatus.COMPLETED, summaries)


def _machine(told: ToldMachine) -> Machine:
    return Machine(
        model=name_of(told.model),
        reality=told.reality,
        os=name_of(told.os),
        os_build=name_of(told.os_build),
        architecture=name_of(told.architecture),
        soc=name_of(told.soc),
        cores=told.cores,
        memory_bytes=told.memory_bytes,
    )


def _loaded(measured: Measured) -> dict[str, object]:
    return {
        "load_ns": None if measured.load_ns is None else bounded_ns(measured.load_ns),
        "engine": Engine(
            name=code_of(measured.engine),
            version=name_of(measured.engine_version),
            backend=name_of(measured.backend) if measured.backend else "",
        ),
        "unit": measured.ran_on,
        "threads": _threads(measured),
        "placement": measured.placement,
    }


def _bursts(pairs: Sequence[tuple[int, Measured]]) -> tuple[CellBurst, ...]:
    """One after the other: when they ran is not known."""
    now, bursts = 0, []
    for cell, measured in pairs:
        samples = tuple(bounded_ns(value) for value in measured.samples_ns)
        if samples:
            end = now + sum(samples)
            bursts.append(CellBurst(cell=cell, start_ns=now, end_ns=end, samples_ns=samples))
            now = end
    return tuple(bursts)


def _summaries(number: int, cell: int, measured: Measured) -> Iterator[Summary]:
    for figures in measured.figures:
        told = {name: bounded_ns(value) for name, value in figures.told.items()}
        fields = {"round": number, "cell": cell, "what": figures.what, "count": figures.count}
        yield Summary.model_validate({**fields, **told})
