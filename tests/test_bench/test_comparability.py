from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from care_mobile.bench.comparability import (
    FIELDS,
    Rule,
    compare_keys,
    comparison_key,
    refused,
    warned,
)
from care_mobile.bench.protocol.events import Clock, Engine, HarnessInfo, Hello, Loaded, Reality
from care_mobile.bench.protocol.plan import Burst, Gate, Phase, Sustained, Unit, Warmup
from care_mobile.bench.protocol.record import DeviceReference, RecordKind, Session

from .any_sessions import sessions
from .sessions import cell_of, changing, machine_of, plan_of, reading, session_of

SEEN = tuple(
    reading(kind, state)
    for kind, state in (
        ("governor", "performance"),
        ("scheduling", "foreground"),
        ("fixed-performance", "yes"),
        ("low-power", "no"),
        ("host", "hal"),
        ("thermal", "nominal"),
    )
) + tuple(
    reading(kind, value=1000) for kind in ("frequency", "temperature", "battery", "load", "steal")
)


def other(**changes: Any) -> Session:
    """A later session, equal but for what is given."""
    plan = changes.pop("plan", None) or plan_of()
    later = plan.model_copy(update={"session": "20260103T030405Z-00c0ffee"})
    given: dict[str, Any] = {"readings": SEEN, "machine": machine_of(memory_bytes=2**30)}
    return session_of(later, **(given | changes))


BASE = session_of(readings=SEEN, machine=machine_of(memory_bytes=2**30))


def changed(session: Session, field: str, **options: Any) -> Rule | None:
    found = [d for d in compare_keys(BASE, session, 0, 0, **options) if d.field == field]
    return found[0].rule if found else None


def facts(**changes: Any) -> Session:
    bundle = cell_of(0).bundle.model_copy(update=changes)
    return other(plan=plan_of([cell_of(0, bundle=bundle), cell_of(1)]))


def cell(**changes: Any) -> Session:
    return other(plan=plan_of([cell_of(0, **changes), cell_of(1)]))


def machine(**changes: Any) -> Session:
    return other(machine=machine_of(**({"memory_bytes": 2**30} | changes)))


def loaded(**changes: Any) -> Session:
    return other(edit=changing(Loaded, **changes))


def engine(**changes: Any) -> Session:
    given = {"name": "onnxruntime", "version": "1.0", "backend": "cpu"}
    return loaded(engine=Engine(**(given | changes)))


def harness(**changes: Any) -> Session:
    given = {"name": "test", "version": "1", "language": "python"}
    return other(edit=changing(Hello, harness=HarnessInfo(**(given | changes))))


def seen(kind: str, **values: Any) -> Session:
    rest = tuple(found for found in SEEN if found.kind != kind)
    return other(readings=(*rest, reading(kind, **values)) if values else rest)


CHANGES = {
    "bundle.content_sha256": facts(content_sha256="cd" * 32),
    "bundle.model": facts(model="other"),
    "bundle.target": facts(target="coreml"),
    "bundle.precision": facts(precision="int8"),
    "bundle.resolution": facts(resolution="16x16"),
    "bundle.random_weights": facts(random_weights=False),
    "cell.label": cell(label="mine"),
    "engine.name": engine(name="executorch"),
    "engine.version": engine(version="1.1"),
    "engine.backend": engine(backend="xnnpack"),
    "unit.requested": cell(unit=Unit.ALL),
    "unit.observed": loaded(unit=Unit.NPU),
    "placement": loaded(placement={"cpu": 3}),
    "threads.requested": cell(threads=2),
    "threads.observed": loaded(threads=2),
    "cores.requested": cell(cores=(0,)),
    "cores.observed": loaded(cores=(0,)),
    "device.kind": other(device=DeviceReference(kind="process")),
    "device.serial": other(device=DeviceReference(kind="desktop", serial="7")),
    "machine.model": machine(model="another"),
    "machine.soc": machine(soc="another"),
    "machine.architecture": machine(architecture="aarch64"),
    "machine.cores": machine(cores=2),
    "machine.memory_bytes": machine(memory_bytes=2**31),
    "machine.reality": machine(reality=Reality.PHYSICAL),
    "machine.os": machine(os="Debian 13"),
    "machine.os_build": machine(os_build="Linux 6.2"),
    "record.kind": other(kind=RecordKind.SCRIPTED),
    "harness.name": harness(name="node"),
    "harness.version": harness(version="2"),
    "plan.phase": other(plan=plan_of(phases=(Phase.SUSTAINED,))),
    "plan.sustained": other(
        plan=plan_of(phases=(Phase.SUSTAINED,), sustained=Sustained(duration_ns=1))
    ),
    "plan.burst.mode": other(plan=plan_of(burst=Burst(mode="single"))),
    "plan.burst.target_ns": other(plan=plan_of(burst=Burst(target_ns=1))),
    "plan.burst.bounds": other(plan=plan_of(burst=Burst(max_iterations=50))),
    "plan.warmup": other(plan=plan_of(warmup=Warmup(window=11))),
    "plan.gate": other(plan=plan_of(gate=Gate(control_drift_permille=70))),
    "plan.neighbours": other(plan=plan_of(3)),
    "plan.preset": other(plan=plan_of(preset="quick")),
    "reading.governor": seen("governor", state="powersave"),
    "reading.scheduling": seen("scheduling", state="background"),
    "reading.fixed-performance": seen("fixed-performance", state="no"),
    "reading.low-power": seen("low-power", state="yes"),
    "tools": other(tools={"python": "3.12.0"}),
    "reading.battery": seen("battery", value=7),
    "reading.host": seen("host", state="other"),
    "reading.frequency": seen("frequency", value=7),
    "reading.temperature": seen("temperature", value=7),
    "reading.thermal": seen("thermal", state="light"),
    "reading.load": seen("load", value=7),
    "reading.steal": seen("steal", value=7),
    "reading.memory": seen("memory", value=7),
    "started": other(started="2026-01-05T03:04:05Z"),
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_is_seen_to_differ_and_its_rule_decides(field: Any) -> None:
    known = comparison_key(BASE, 0)[field.name]
    wanted = field.rule if known else field.unknown
    assert changed(CHANGES[field.name], field.name) is wanted
    assert field.reason


def test_nothing_else_differs() -> None:
    names = {difference.field for difference in compare_keys(BASE, other(), 0, 0)}
    assert names == set()
    for name, session in CHANGES.items():
        found = {d.field for d in compare_keys(BASE, session, 0, 0) if d.rule is not Rule.IGNORE}
        pairs = {
            # What is asked for is what is observed here, and threads of another number too.
            "unit.requested": {"unit.requested", "unit.observed"},
            "threads.requested": {"threads.requested", "threads.observed"},
            "cores.requested": {"cores.requested"},
            "plan.phase": {"plan.phase", "plan.sustained"},
            "plan.sustained": {"plan.phase", "plan.sustained"},
        }
        own = {name} if changed(session, name) is not Rule.IGNORE else set()
        assert found == pairs.get(name, own), name


def test_sustained_runs_are_compared_with_those_of_the_same_length() -> None:
    def minutes(count: int) -> Session:
        rules = Sustained(duration_ns=count * 60_000_000_000)
        return other(plan=plan_of(phases=(Phase.SUSTAINED,), sustained=rules))

    found = compare_keys(minutes(1), minutes(1), 0, 0)
    assert refused(found) == ()
    # One id would make them one session, whose cells share a plan.
    later = minutes(10)
    later = replace(later, opened=later.opened.model_copy(update={"session": "another"}))
    assert [d.field for d in refused(compare_keys(minutes(1), later, 0, 0))] == ["plan.sustained"]


def test_host_names_and_momentary_frequencies_are_no_identity() -> None:
    session = other(
        readings=tuple(
            found.model_copy(update={"state": "elsewhere"}) if found.kind == "host" else found
            for found in SEEN
            if found.kind != "frequency"
        )
    )
    found = compare_keys(BASE, session, 0, 0)
    assert {d.field for d in found} == {"reading.host", "reading.frequency"}
    assert refused(found) == warned(found) == ()


def test_the_same_network_is_told_by_its_content() -> None:
    session = facts(content_sha256="cd" * 32)
    assert changed(session, "bundle.content_sha256") is Rule.IGNORE
    assert changed(session, "bundle.content_sha256", same_network=True) is Rule.MUST_EQUAL
    assert changed(other(), "bundle.content_sha256", same_network=True) is None
    unknown = facts(content_sha256=None)
    assert changed(unknown, "bundle.content_sha256", same_network=True) is Rule.MUST_EQUAL


def test_within_a_session_what_tells_cells_apart_is_the_question() -> None:
    plan = plan_of([cell_of(0), cell_of(1, threads=4, unit=Unit.GPU, engine="executorch")])
    session = session_of(plan)
    found = compare_keys(session, session, 0, 1)
    assert {"threads.requested", "engine.name", "unit.requested"} <= {d.field for d in found}
    assert refused(found) == warned(found) == ()
    assert compare_keys(session, session, 0, 0) == ()


def test_what_a_record_lacks_is_refused_or_warned_as_the_table_says() -> None:
    lacking = other(lacks=("no-os-build", "no-threads", "no-engine-version", "no-rounds"))
    found = {d.field: d for d in compare_keys(BASE, lacking, 0, 0)}
    assert {name: d.rule for name, d in found.items()} == {
        "engine.version": Rule.MUST_EQUAL,
        "threads.requested": Rule.MUST_EQUAL,
        "threads.observed": Rule.WARN,
        "machine.os_build": Rule.WARN,
    }
    assert all(d.unknown and d.b == () for d in found.values())


def test_what_an_imported_plan_has_to_hold_is_not_taken_for_what_was_told() -> None:
    def imported(day: int) -> Session:
        plan = plan_of(session=f"day-{day}", burst=Burst(target_ns=day))
        return session_of(plan, kind=RecordKind.IMPORTED, lacks=("no-unit", "no-content"))

    key = comparison_key(imported(1), 0)
    assert key["plan.burst.mode"] == key["plan.warmup"] == key["unit.requested"] == ()
    found = compare_keys(imported(1), imported(2), 0, 0)
    assert {d.field for d in refused(found)} == {"unit.requested"}
    assert {d.field for d in warned(found)} == {"unit.observed"}


@pytest.mark.parametrize("unknown", ["", "unknown"])
def test_two_that_do_not_know_are_not_equal(unknown: str) -> None:
    def silent(day: int, **facts: str) -> Session:
        plan = plan_of(session=f"day-{day}")
        return session_of(plan, machine=machine_of(os=unknown, **facts))

    found = {d.field: d.rule for d in compare_keys(silent(1), silent(2), 0, 0)}
    assert found == {"machine.os": Rule.MUST_EQUAL}
    nothing = [silent(day, model=unknown, soc=unknown) for day in (1, 2)]
    assert "machine.model" in {d.field for d in refused(compare_keys(*nothing, 0, 0))}


def test_a_processor_stands_for_a_model_that_is_not_told() -> None:
    sessions = [
        session_of(plan_of(session=f"day-{day}"), machine=machine_of(model="unknown"))
        for day in (1, 2)
    ]
    assert compare_keys(*sessions, 0, 0) == ()


def test_a_session_without_evidence_is_comparable_with_nothing() -> None:
    empty = other(edit=lambda line: None)
    found = refused(compare_keys(BASE, empty, 0, 0))
    assert {"engine.name", "machine.model", "harness.name"} <= {d.field for d in found}


def test_a_clock_is_no_identity() -> None:
    edit = changing(Hello, clock=Clock(name="another", resolution_ns=42))
    assert compare_keys(BASE, other(edit=edit), 0, 0) == ()


def test_what_changed_within_a_session_differs_from_what_did_not() -> None:
    versions = iter("12345")

    def newer(line: Loaded) -> Engine:
        return line.engine.model_copy(update={"version": next(versions)})

    plan = plan_of(1).model_copy(update={"session": "another"})
    session = session_of(plan, edit=changing(Loaded, engine=newer))
    assert comparison_key(session, 0)["engine.version"] == ("1", "2", "3", "4", "5")
    assert changed(session, "engine.version") is Rule.MUST_EQUAL


@given(sessions(), sessions())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_can_be_folded_is_compared(a: Session, b: Session) -> None:
    found = compare_keys(a, b, 0, 1)
    assert {d.field for d in found} == {d.field for d in compare_keys(b, a, 1, 0)}
    assert all(d.a != d.b or d.unknown for d in found)
    assert set(comparison_key(a, 0)) == {field.name for field in FIELDS}
