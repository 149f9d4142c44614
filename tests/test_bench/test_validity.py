from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import (
    Block,
    Engine,
    Failed,
    Hello,
    Loaded,
    Note,
    PacedRun,
    Reading,
    Reality,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import Paced, Phase, Probe, Unit
from care_mobile.bench.protocol.record import (
    Closed,
    Judged,
    Launched,
    RecordKind,
    Resumed,
    RoundStatus,
    Session,
)
from care_mobile.bench.validity import RULES, Finding, FindingCode, Severity, invalid, judge
from care_mobile.bench.validity.answers import judge_notes
from care_mobile.text import is_line

from .any_sessions import sessions
from .sessions import (
    BASE_NS,
    CONTROL_NS,
    DATE,
    Edit,
    both,
    cell_of,
    changing,
    landing,
    machine_of,
    plan_of,
    reading,
    rejecting,
    session_of,
)

Code = FindingCode
INVALID, WARNING, INFO = Severity.INVALID, Severity.WARNING, Severity.INFO
NOMINAL = (reading("thermal", "nominal"),)


def clean(**changes: Any) -> Session:
    """A session without a fault, on a device that says that it is nominal."""
    return session_of(**({"readings": NOMINAL} | changes))


def codes(session: Session) -> list[FindingCode]:
    return [found.code for found in judge(session)]


def one(session: Session, code: FindingCode) -> Finding:
    found = [finding for finding in judge(session) if finding.code is code]
    assert len(found) == 1, found
    return found[0]


def test_a_session_without_a_fault_has_no_finding() -> None:
    assert judge(clean()) == ()


def test_ticks_of_apples_clock_are_nothing() -> None:
    """41.67 ns, written as 42; medians jump from one tick to the next."""

    def ticks(number: int, block: int, cell: int) -> list[int]:
        return [((500_000 + 30 * (n % 3) + 40 * (number + block)) * 24 // 1000) * 1000 // 24
                for n in range(40)]  # fmt: skip

    assert judge(clean(latencies=ticks, resolution_ns=42)) == ()


def first_cell(kind: type[Contract], **changes: Any) -> Edit:
    """An edit of the events of cell 0."""
    edit = changing(kind, **changes)
    return lambda line: edit(line) if getattr(line, "cell", None) == 0 else line


def in_round(number: int, inner: Edit) -> Edit:
    """An edit of one launch."""
    current = [-1]

    def edit(line: Contract) -> Contract | Iterable[Contract] | None:
        if isinstance(line, Launched):
            current[0] = line.round
        return inner(line) if current[0] == number else line

    return edit


def after_loads(event: Callable[[Loaded], Contract]) -> Edit:
    """An edit that puts an event behind each load of cell 0."""

    def edit(line: Contract) -> Contract | Iterable[Contract]:
        if isinstance(line, Loaded) and line.cell == 0:
            return line, event(line)
        return line

    return edit


def looks(*readings: Reading) -> Edit:
    """Before and after every block."""
    return changing(Block, before=readings, after=readings)


def cpu_time(*shares: float, cell: int = 0) -> Edit:
    """CPU time of a cell's bursts as a share of their inferences, round by round."""
    current = [0]

    def edit(line: Contract) -> Contract:
        if isinstance(line, Launched):
            current[0] = line.round
        if not isinstance(line, Block):
            return line
        share = shares[current[0] % len(shares)]
        bursts = tuple(
            burst.model_copy(update={"cpu_ns": int(share * sum(burst.samples_ns))})
            if burst.cell == cell
            else burst
            for burst in line.bursts
        )
        return line.model_copy(update={"bursts": bursts})

    return edit


def no_cpu_time(line: Contract) -> Contract:
    if not isinstance(line, Block):
        return line
    bursts = tuple(burst.model_copy(update={"cpu_ns": None}) for burst in line.bursts)
    return line.model_copy(update={"bursts": bursts})


def failing(line: Loaded) -> Failed:
    return Failed(n=line.n, at_ns=line.at_ns, cell=0, code="load-failed", detail="too large")


def noting(code: str) -> Edit:
    return after_loads(lambda line: Note(n=line.n, at_ns=line.at_ns, code=code, cell=0))


NPU = plan_of([cell_of(0, unit=Unit.NPU), cell_of(1)])
PINNED = plan_of([cell_of(0, cores=(0,)), cell_of(1)])
LONG = plan_of(phases=(Phase.BURST, Phase.PACED, Phase.SUSTAINED))
FAST_PACE = plan_of(phases=(Phase.BURST, Phase.PACED), paced=Paced(interval_ns=BASE_NS - 1))
PROBED = plan_of(
    [
        cell_of(0, probes=tuple(Probe(name=name, inputs=()) for name in ("one", "two"))),
        cell_of(1, probes=(Probe(name="noise", inputs=(), judged=False),)),
    ]
)
hot = reading("thermal", "severe")


def unjudged(probe: str) -> Edit:
    return lambda line: None if isinstance(line, Judged) and line.probe == probe else line


EDITS: dict[str, tuple[Edit, FindingCode, Severity, int | None, tuple[int, ...]]] = {
    "a wrong answer": (
        in_round(2, first_cell(Judged, passed=False, psnr_db=3.0)),
        Code.WRONG_ANSWERS, INVALID, 0, (2,),
    ),
    "a wrong answer in a round that was lost": (
        both(
            in_round(2, first_cell(Judged, passed=False, psnr_db=3.0)),
            landing(2, RoundStatus.CRASHED),
        ),
        Code.WRONG_ANSWERS, INVALID, 0, (2,),
    ),
    "nothing judged": (
        lambda line: None if isinstance(line, Judged) and line.cell == 0 else line,
        Code.ANSWERS_UNCHECKED, WARNING, 0, (),
    ),
    "nothing judged in a round": (
        in_round(3, lambda line: None if isinstance(line, Judged) and line.cell == 0 else line),
        Code.ANSWERS_UNCHECKED, WARNING, 0, (3,),
    ),
    "a sample of the answers": (
        first_cell(Judged, partial=True), Code.ANSWERS_PARTIAL, INFO, 0, (),
    ),
    "a cell that fails": (after_loads(failing), Code.CELL_FAILED, INVALID, 0, (0, 1, 2, 3, 4)),
    "a cell that failed once": (
        in_round(1, after_loads(failing)), Code.CELL_FAILED, WARNING, 0, (1,),
    ),
    "another unit": (
        first_cell(Loaded, unit=Unit.GPU), Code.UNIT_DIFFERS, INVALID, 0, (0, 1, 2, 3, 4),
    ),
    "other threads": (first_cell(Loaded, threads=4), Code.THREADS_DIFFER, WARNING, 0, ()),
    "another unit in a round": (
        in_round(4, first_cell(Loaded, unit=None)), Code.PLACEMENT_CHANGED, INVALID, 0, (4,),
    ),
    "operations elsewhere in a round": (
        both(
            first_cell(Loaded, placement={"npu": 5, "cpu": 1}),
            in_round(4, first_cell(Loaded, placement={"npu": 3, "cpu": 3})),
        ),
        Code.PLACEMENT_CHANGED, INVALID, 0, (4,),
    ),
    "an update in the middle": (
        in_round(4, first_cell(Loaded, engine=Engine(name="onnxruntime", version="2.0"))),
        Code.ENGINE_CHANGED, INVALID, 0, (4,),
    ),
    "another machine in the middle": (
        in_round(3, changing(Hello, machine=machine_of(os_build="Linux 6.2"))),
        Code.MACHINE_CHANGED, INVALID, None, (3,),
    ),
    "a hot block that counts": (
        in_round(1, looks(hot)), Code.THROTTLED, INVALID, None, (1,),
    ),
    "a hot block that was rejected": (
        in_round(1, both(looks(hot), rejecting(lambda block: True, "thermal"))),
        Code.THROTTLED, WARNING, None, (1,),
    ),
    "saving power": (
        looks(reading("low-power", "yes")), Code.LOW_POWER, INVALID, None, (0, 1, 2, 3, 4),
    ),
    "in the background": (
        in_round(2, looks(reading("foreground", "no"))),
        Code.NOT_IN_FOREGROUND, INVALID, None, (2,),
    ),
    "a debugger": (
        in_round(0, looks(reading("debugger", "yes"))), Code.DEBUGGER, INVALID, None, (0,),
    ),
    "unplugged": (
        both(
            looks(reading("battery", "charging")),
            in_round(2, looks(reading("battery", "discharging"))),
        ),
        Code.CHARGING_CHANGED, WARNING, None, (),
    ),
    "a thermal state nobody knows": (
        in_round(2, looks(reading("thermal", "unknown"))),
        Code.THERMAL_UNKNOWN, INFO, None, (2,),
    ),
    "a machine of unknown kind": (
        changing(Hello, machine=machine_of(reality=Reality.UNKNOWN)),
        Code.REALITY_UNKNOWN, WARNING, None, (),
    ),
    "a simulator": (
        changing(Hello, machine=machine_of(reality=Reality.SIMULATOR)),
        Code.SIMULATOR, INVALID, None, (),
    ),
    "an emulator": (
        changing(Hello, machine=machine_of(reality=Reality.EMULATOR)),
        Code.EMULATOR, INVALID, None, (),
    ),
    "an interpreter": (
        changing(Hello, machine=machine_of(reality=Reality.INTERPRETER)),
        Code.INTERPRETER, INVALID, None, (),
    ),
    "a script that says it measures": (
        changing(Hello, machine=machine_of(reality=Reality.SCRIPT)),
        Code.SCRIPT, INVALID, None, (),
    ),
    "a slower machine in a round": (
        in_round(1, changing(Block, control_before_ns=2 * CONTROL_NS,
                             control_after_ns=2 * CONTROL_NS)),
        Code.SPEED_CHANGED, WARNING, None, (1,),
    ),
    "a sixth of a core": (cpu_time(1 / 6), Code.MACHINE_BUSY, INVALID, 0, (0, 1, 2, 3, 4)),
    "a sixth of a core in a round": (
        cpu_time(1, 1 / 6, 1, 1, 1), Code.MACHINE_BUSY, WARNING, 0, (1,),
    ),
    "four fifths of a core": (cpu_time(0.8), Code.MACHINE_BUSY, WARNING, 0, (0, 1, 2, 3, 4)),
    "one core less of several": (
        cpu_time(3.9, 3.9, 2.5, 3.9, 3.9), Code.MACHINE_BUSY, WARNING, 0, (2,),
    ),
    "nobody tells": (no_cpu_time, Code.BUSY_UNKNOWN, WARNING, None, ()),
    "others at work": (
        in_round(2, looks(reading("load", value=6000))), Code.MACHINE_BUSY, WARNING, None, (2,),
    ),
    "a launch that crashed": (
        landing(1, RoundStatus.CRASHED, "signal-11"), Code.ROUNDS_LOST, WARNING, None, (1,),
    ),
    "stopped": (landing(4, RoundStatus.STOPPED), Code.INTERRUPTED, WARNING, None, ()),
    "cut off": (
        lambda line: None if isinstance(line, Closed) else line,
        Code.INTERRUPTED, WARNING, None, (),
    ),
    "a drift": (
        in_round(1, rejecting(lambda block: block.block == 0)),
        Code.CONTROL_DRIFT, INFO, None, (1,),
    ),
    "much drift": (
        rejecting(lambda block: block.block == 0),
        Code.CONTROL_DRIFT, WARNING, None, (0, 1, 2, 3, 4),
    ),
    "another reason to reject": (
        in_round(1, rejecting(lambda block: block.block == 0, "thermal")),
        Code.BLOCKS_REJECTED, INFO, None, (1,),
    ),
    "a slot without a block": (
        in_round(1, rejecting(lambda block: block.block == 0)),
        Code.SLOTS_LOST, WARNING, None, (1,),
    ),
    "no slot with a block": (
        rejecting(lambda block: True), Code.SLOTS_LOST, WARNING, None, (0, 1, 2, 3, 4),
    ),
    "a warm-up given up": (
        in_round(2, first_cell(Warm, steady=False)), Code.WARM_UP_CAPPED, WARNING, 0, (2,),
    ),
    "warm-ups given up": (
        first_cell(Warm, steady=False), Code.NO_STEADY_STATE, WARNING, 0, (0, 1, 2, 3, 4),
    ),
    "a harness that saw heat": (
        noting("throttled"), Code.THROTTLED, WARNING, 0, (0, 1, 2, 3, 4),
    ),
    "a note": (noting("noise-inputs"), Code.NOTED, INFO, 0, (0, 1, 2, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_what_is_wrong_is_found_where_it_is(what: str) -> None:
    edit, code, severity, cell, rounds = EDITS[what]
    found = one(clean(edit=edit), code)
    assert (found.severity, found.cell, found.rounds) == (severity, cell, rounds)
    assert found.detail


SESSIONS: dict[str, tuple[Session, FindingCode, Severity, int | None]] = {
    "an accelerator that does not tell": (
        clean(plan=NPU, edit=first_cell(Loaded, unit=None)), Code.UNIT_UNKNOWN, WARNING, 0,
    ),
    "an accelerator that fell back": (
        clean(plan=NPU, edit=first_cell(Loaded, unit=Unit.CPU)), Code.UNIT_DIFFERS, INVALID, 0,
    ),
    "cores that were not granted": (
        clean(plan=PINNED), Code.AFFINITY_NOT_SUPPORTED, WARNING, 0,
    ),
    "cores that a harness cannot grant": (
        clean(plan=PINNED, edit=both(first_cell(Loaded, cores=(0,)),
                                     noting("affinity-not-supported"))),
        Code.AFFINITY_NOT_SUPPORTED, WARNING, 0,
    ),
    "no thermal state": (session_of(), Code.THERMAL_UNKNOWN, INFO, None),
    "no thermal state of a phone": (
        session_of(machine=machine_of(reality=Reality.PHYSICAL)),
        Code.THERMAL_UNKNOWN, WARNING, None,
    ),
    "one round": (clean(plan=plan_of(rounds=1)), Code.TOO_FEW_ROUNDS, WARNING, None),
    "two rounds": (clean(plan=plan_of(rounds=2)), Code.TOO_FEW_ROUNDS, WARNING, None),
    "few inferences": (
        clean(iterations=1, plan=plan_of(rounds=5, blocks=2)),
        Code.TOO_FEW_SAMPLES, WARNING, None,
    ),
    "a short run of MLPerf's": (
        clean(plan=plan_of(phases=(Phase.SUSTAINED,), preset="mlperf")),
        Code.TOO_FEW_SAMPLES, WARNING, None,
    ),
    "a probe that was left out in a round": (
        clean(plan=PROBED, edit=in_round(3, unjudged("two"))),
        Code.ANSWERS_UNCHECKED, WARNING, 0,
    ),
    "heat in the figure itself": (
        clean(plan=plan_of(phases=(Phase.SUSTAINED,)),
              edit=first_cell(SustainedRun, after=(hot,))),
        Code.THROTTLED, WARNING, 0,
    ),
    "a late pace": (
        clean(plan=LONG, edit=first_cell(PacedRun, late_ns=(5_000_000,))),
        Code.PACED_LATE, WARNING, 0,
    ),
    "a pace that is too fast": (clean(plan=FAST_PACE), Code.PACE_NOT_KEPT, WARNING, None),
    "a coarse clock": (
        clean(resolution_ns=1_000_000), Code.TIMER_COARSE, WARNING, None,
    ),
    "a functional device": (
        session_of(kind=RecordKind.FUNCTIONAL), Code.FUNCTIONAL, INFO, None,
    ),
    "a scripted device": (
        clean(kind=RecordKind.SCRIPTED, machine=machine_of(reality=Reality.SCRIPT)),
        Code.SCRIPT, INFO, None,
    ),
    "another tool's record": (
        session_of(kind=RecordKind.IMPORTED, lacks=("no-threads", "something-new")),
        Code.IMPORTED_LACKS, WARNING, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SESSIONS)
def test_sessions_with_a_fault(what: str) -> None:
    session, code, severity, cell = SESSIONS[what]
    found = [finding for finding in judge(session) if finding.code is code]
    cells: list[int | None] = [0, 1] if found[0].cell is not None and cell is None else [cell]
    assert [finding.cell for finding in found] == cells
    assert {finding.severity for finding in found} == {severity}


def test_a_wrong_answer_is_invalid_however_fast_and_the_other_cell_is_not() -> None:
    findings = judge(clean(edit=first_cell(Judged, passed=False)))
    assert invalid(findings, 0)
    assert not invalid(findings, 1)


def test_what_concerns_the_device_concerns_all_cells() -> None:
    findings = judge(clean(edit=looks(reading("low-power", "yes"))))
    assert invalid(findings, 0) and invalid(findings, 1)


def test_the_worst_comes_first() -> None:
    edit = both(first_cell(Judged, passed=False, partial=True), first_cell(Warm, steady=False))
    ranks = [finding.severity.rank for finding in judge(clean(edit=edit))]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


def test_without_an_accepted_block_no_cell_is_evidence() -> None:
    findings = judge(clean(edit=rejecting(lambda block: True)))
    assert invalid(findings, 0) and invalid(findings, 1)


def test_a_failed_cell_takes_no_slot_from_the_others() -> None:
    found = codes(clean(edit=after_loads(failing)))
    assert Code.SLOTS_LOST not in found


def test_heat_of_a_sustained_run_is_what_it_is_there_for() -> None:
    edit = changing(SustainedRun, after=(hot,))
    assert codes(clean(plan=LONG, edit=edit)) == []


def test_waiting_for_an_accelerator_is_no_busy_machine() -> None:
    plan = plan_of([cell_of(0, unit=Unit.NPU), cell_of(1)])
    assert codes(clean(plan=plan, edit=cpu_time(0.1))) == []


def test_a_few_that_waited_long_leave_the_median_alone() -> None:
    """One in ten waits for 30 times its own time: CPU time is a quarter, the median is right."""

    def waiting(number: int, block: int, cell: int) -> list[int]:
        return [BASE_NS * (31 if n % 10 == 0 else 1) for n in range(40)]

    share = 40 / (36 + 4 * 31)
    found = one(
        clean(latencies=waiting, edit=both(cpu_time(share), cpu_time(1, cell=1))), Code.MACHINE_BUSY
    )
    assert (found.severity, found.cell) == (WARNING, 0)


def test_a_load_on_android_says_nothing() -> None:
    edit = looks(reading("load", value=20_000))
    machine = machine_of(os="Android 15")
    assert codes(clean(edit=edit, machine=machine)) == []
    assert Code.MACHINE_BUSY in codes(clean(edit=edit))


@pytest.mark.parametrize(
    ("cores", "load", "busy"),
    [(2, 1400, False), (2, 1600, True), (8, 4400, False), (8, 4600, True)],
)
def test_the_load_of_others_is_held_against_the_cores_that_are_left(
    cores: int, load: int, busy: bool
) -> None:
    session = clean(edit=looks(reading("load", value=load)), machine=machine_of(cores=cores))
    assert (Code.MACHINE_BUSY in codes(session)) is busy


@pytest.mark.parametrize(("stolen_ms", "busy"), [(10, False), (30, True)])
def test_time_given_to_other_machines(stolen_ms: int, busy: bool) -> None:
    """In one second of a round."""
    before = reading("steal", value=5 * 10**9, at_ns=10**9)
    after = reading("steal", value=5 * 10**9 + stolen_ms * 10**6, at_ns=2 * 10**9)
    session = clean(edit=changing(Block, before=(before,), after=(after,)))
    assert (Code.MACHINE_BUSY in codes(session)) is busy


def test_a_relaunch_that_made_up_for_a_crash_is_said() -> None:
    session = clean(edit=landing(1, RoundStatus.CRASHED))
    good = clean()
    made_up = replace(session, earlier=(session.rounds[1],), rounds=good.rounds)
    found = one(made_up, Code.ROUNDS_LOST)
    assert "all were made up for" in found.detail
    assert Code.INTERRUPTED not in codes(made_up)


def test_resuming_with_other_tools() -> None:
    def resumed(tools: dict[str, str]) -> Session:
        return replace(clean(), resumed=(Resumed(at=DATE, tools=tools),))

    assert codes(resumed({"python": "3.12.0"})) == [Code.TOOLS_CHANGED]
    assert codes(resumed({"python": "3.11.7"})) == []


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_a_step_is_found_with_few_blocks_and_with_many(blocks: int) -> None:
    half = blocks / 2

    def stepping(number: int, block: int, cell: int) -> list[int]:
        if number != 1 or cell != 0:
            return [BASE_NS] * 40
        parts = [(block + n / 40) for n in range(40)]
        return [int(BASE_NS * (1.2 if part >= half else 1)) for part in parts]

    found = one(clean(plan=plan_of(blocks=blocks), latencies=stepping), Code.STEP)
    assert (found.cell, found.rounds, found.round) == (0, (1,), 1)


def test_an_outlier_is_no_step() -> None:
    def outlier(number: int, block: int, cell: int) -> list[int]:
        return [BASE_NS * (10 if n == 7 else 1) for n in range(40)]

    assert codes(clean(latencies=outlier)) == []


def test_a_harness_that_notes_thousands_of_things_fills_no_screen() -> None:
    found = session_of(edit=lambda line: line)
    notes = tuple(Note(n=1, at_ns=1, code=f"odd-{number}") for number in range(3000))
    rounds = tuple(replace(found.rounds[0], notes=notes) for _ in found.rounds[:1])
    noted = list(judge_notes(replace(found, rounds=rounds)))
    assert len(noted) == 21
    assert noted[-1].detail == "and 2980 more notes, in the record"


def test_what_a_record_lacks_is_said_once_and_in_words() -> None:
    def edit(line: Contract) -> Contract | None:
        return None if isinstance(line, Judged) else no_cpu_time(line)

    session = session_of(edit=edit, lacks=("no-answers", "no-cpu-time", "something-new"))
    assert codes(session) == [Code.IMPORTED_LACKS]
    detail = one(session, Code.IMPORTED_LACKS).detail
    assert "whether the answers were right was not looked at" in detail
    assert "something-new" in detail


def test_every_code_has_its_rule_and_its_test() -> None:
    assert [rule.code for rule in RULES] == list(FindingCode)
    tested = {code for _, code, *_ in EDITS.values()} | {code for _, code, *_ in SESSIONS.values()}
    elsewhere = {Code.STEP, Code.TOOLS_CHANGED}
    assert tested | elsewhere == set(FindingCode)


@given(sessions())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_can_be_folded_is_judged(session: Session) -> None:
    findings = judge(session)
    assert findings == judge(session)
    rules = {rule.code: rule for rule in RULES}
    for found in findings:
        assert found.severity in rules[found.code].severities
        assert found.detail and is_line(found.detail)
        assert found.cell is None or 0 <= found.cell < len(session.plan.cells)
        assert set(found.rounds) <= {r.number for r in session.plan.rounds}
