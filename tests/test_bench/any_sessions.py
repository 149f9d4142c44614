"""Sessions of whatever can be folded, sensible or not: what reads records has to take them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from care_mobile.bench.protocol.base import MAX_NS, Contract
from care_mobile.bench.protocol.events import (
    Block,
    CellBurst,
    Engine,
    Failed,
    Loaded,
    Machine,
    Note,
    PacedRun,
    Reading,
    Reality,
    Rejected,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import LoadKind, Phase, Thermal, Unit
from care_mobile.bench.protocol.record import (
    Closed,
    Judged,
    Landed,
    Launched,
    RecordKind,
    RoundStatus,
    Session,
    SessionOpened,
    fold,
)

from .sessions import DATE, cell_of, machine_of, plan_of, session_of

times = st.one_of(st.integers(0, 5), st.integers(0, 10**10), st.just(MAX_NS // 1000))
words = st.sampled_from(
    ["thermal", "battery", "load", "steal", "memory", "low-power", "foreground", "debugger", "x"]
)
states = st.sampled_from(["yes", "no", "charging", "discharging", "", *[t.value for t in Thermal]])
some_readings = st.lists(
    st.builds(
        Reading,
        at_ns=times,
        kind=words,
        state=st.none() | states,
        value=st.none() | st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=3,
).map(tuple)
samples = st.lists(times, min_size=1, max_size=20).map(tuple)
cells = st.integers(0, 3)
at = {"n": st.just(0), "at_ns": times}
maybe_times = st.none() | times
hostile = st.sampled_from(["", "two\nlines", "\x1b[31mred", "x" * 2000])


def _burst(cell: int, values: tuple[int, ...], cpu_ns: int | None) -> CellBurst:
    return CellBurst(cell=cell, start_ns=0, end_ns=sum(values), cpu_ns=cpu_ns, samples_ns=values)


def _block(number: int, bursts: list[CellBurst], reason: str | None, **fields: Any) -> Block:
    end_ns = max(burst.end_ns for burst in bursts)
    rejected = None if reason is None else Rejected(code=reason)
    span = {"start_ns": 0, "end_ns": end_ns, "at_ns": end_ns}
    every = {"bursts": tuple(bursts), "rejected": rejected}
    return Block(n=0, block=number, **span, **every, **fields)


def _paced(late: bool, samples_ns: tuple[int, ...], **fields: Any) -> PacedRun:
    return PacedRun(samples_ns=samples_ns, late_ns=samples_ns[::-1] if late else (), **fields)


def _sustained(start_ns: int, samples_ns: tuple[int, ...], **fields: Any) -> SustainedRun:
    end_ns = start_ns + sum(samples_ns)
    return SustainedRun(start_ns=start_ns, samples_ns=samples_ns, end_ns=end_ns, **fields)


events: st.SearchStrategy[Contract] = st.one_of(
    st.builds(
        _block,
        number=st.integers(0, 4),
        bursts=st.lists(st.builds(_burst, cells, samples, maybe_times), min_size=1, max_size=3),
        reason=st.none() | st.sampled_from(["control-drift", "thermal", "odd"]),
        control_before_ns=maybe_times,
        control_after_ns=maybe_times,
        before=some_readings,
        after=some_readings,
    ),
    st.builds(
        Loaded,
        cell=cells,
        kind=st.sampled_from(LoadKind),
        load_ns=maybe_times,
        compile_ns=maybe_times,
        engine=st.builds(Engine, name=st.sampled_from(["a", "b"]), version=st.just("1")),
        unit=st.none() | st.sampled_from(Unit),
        threads=st.none() | st.integers(0, 4),
        cores=st.none() | st.lists(st.integers(0, 3), max_size=2).map(tuple),
        placement=st.none() | st.dictionaries(st.sampled_from(["cpu", "npu"]), times),
        memory_bytes=maybe_times,
        **at,
    ),
    st.builds(
        Warm,
        cell=cells,
        iterations=st.integers(1, 9),
        first_ns=times,
        latency_ns=times,
        total_ns=times,
        steady=st.booleans(),
        **at,
    ),
    st.builds(
        _paced,
        cell=cells,
        start_ns=times,
        interval_ns=times,
        samples_ns=samples,
        late=st.booleans(),
        before=some_readings,
        **at,
    ),
    st.builds(
        _sustained,
        cell=cells,
        start_ns=times,
        samples_ns=samples,
        cpu_ns=maybe_times,
        after=some_readings,
        **at,
    ),
    st.builds(
        Judged,
        round=st.just(0),
        cell=cells,
        probe=st.just(""),
        passed=st.booleans(),
        psnr_db=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        partial=st.booleans(),
        note=hostile,
    ),
    st.builds(Failed, code=st.just("x"), detail=hostile, cell=st.none() | cells, **at),
    st.builds(Note, code=st.just("x"), detail=hostile, cell=st.none() | cells, **at),
)


@st.composite
def launches(draw: st.DrawFn, number: int) -> list[Contract]:
    """Whatever lines in whatever order: `fold` takes them, so the judges have to."""
    lines: list[Contract] = [Launched(round=number, launch="l", at=DATE)]
    if draw(st.booleans()):
        plain = session_of(plan_of(1, rounds=1)).rounds[0].hello
        assert plain is not None
        machine: Machine = machine_of(
            reality=draw(st.sampled_from(Reality)), cores=draw(st.none() | st.integers(1, 4))
        )
        lines.append(plain.model_copy(update={"machine": machine, "readings": draw(some_readings)}))
    lines += draw(st.lists(events, max_size=8))
    status = draw(st.sampled_from(RoundStatus))
    lines.append(Landed(round=number, launch="l", at=DATE, status=status))
    return lines


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    every = [cell_of(n, unit=draw(st.sampled_from(Unit))) for n in range(2)]
    phases = draw(
        st.sampled_from([(Phase.BURST,), (Phase.SUSTAINED,), (), (Phase.BURST, Phase.PACED)])
    )
    plan = plan_of(every, rounds=3, apart=draw(st.booleans()), phases=phases)
    lines: list[Contract] = []
    for number in draw(st.lists(st.integers(0, len(plan.rounds) - 1), max_size=4)):
        lines += draw(launches(number))
    if draw(st.booleans()):
        lines.append(Closed(at=DATE, completed=0, planned=3))
    plain = session_of(plan_of(1, rounds=1)).opened
    kind = draw(st.sampled_from(RecordKind))
    opened: SessionOpened = plain.model_copy(update={"plan": plan, "kind": kind})
    return fold(opened, lines)
