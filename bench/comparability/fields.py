"""The comparison key: every field with its rule and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..protocol.plan import Burst
from ..protocol.record import Session
from .kinds import KeyField, Rule, Scope
from .readers import (
    from_hello,
    from_loads,
    from_plan,
    from_record,
    model_of,
    neighbours,
    phase,
    placement_of,
    states,
    sustained,
    tools_of,
)


def _field(
    name: str,
    scope: Scope,
    rule: Rule,
    reason: str,
    read: Callable[[Session, int], Iterable[object]],
    *,
    unknown: Rule | None = None,
    neither: Rule | None = None,
    same_network: Rule | None = None,
) -> KeyField:
    unknown = unknown or rule
    return KeyField(name, scope, rule, reason, read, unknown, neither or unknown, same_network)


def _bounds(burst: Burst) -> tuple[int, ...]:
    return burst.min_iterations, burst.max_iterations, burst.pause_ns


_CELL, _SESSION = Scope.CELL, Scope.SESSION
_MUST, _WARN, _IGNORE = Rule.MUST_EQUAL, Rule.WARN, Rule.IGNORE

FIELDS: tuple[KeyField, ...] = (
    # What is measured.
    _field(
        "bundle.content_sha256",
        _CELL,
        _IGNORE,
        "two states of a network are what a comparison is about; where the same network is "
        "expected it must be equal",
        from_plan(lambda c: c.bundle.content_sha256),
        same_network=_MUST,
    ),
    _field(
        "bundle.model",
        _CELL,
        _MUST,
        "other networks are compared within one session",
        from_plan(lambda c: c.bundle.model),
    ),
    _field(
        "bundle.target",
        _CELL,
        _MUST,
        "formats are compared within one session",
        from_plan(lambda c: c.bundle.target),
    ),
    _field(
        "bundle.precision",
        _CELL,
        _MUST,
        "precisions are compared within one session",
        from_plan(lambda c: c.bundle.precision),
        unknown=_WARN,
    ),
    _field(
        "bundle.resolution",
        _CELL,
        _MUST,
        "work grows with the pixels",
        from_plan(lambda c: c.bundle.resolution),
        unknown=_WARN,
    ),
    _field(
        "bundle.random_weights",
        _CELL,
        _WARN,
        "speed depends on values only where they are denormal or zero",
        from_plan(lambda c: c.bundle.random_weights),
        neither=_IGNORE,
    ),
    _field(
        "cell.label",
        _CELL,
        _IGNORE,
        "a name for people",
        from_plan(lambda c: c.label),
    ),
    # What runs it.
    _field(
        "engine.name",
        _CELL,
        _MUST,
        "engines are compared within one session",
        from_loads(lambda e: e.engine.name),
    ),
    _field(
        "engine.version",
        _CELL,
        _MUST,
        "a release changes kernels",
        from_loads(lambda e: e.engine.version),
    ),
    _field(
        "engine.backend",
        _CELL,
        _MUST,
        "other kernels",
        from_loads(lambda e: e.engine.backend),
        neither=_IGNORE,
    ),
    _field(
        "unit.requested",
        _CELL,
        _MUST,
        "CPU, GPU and neural engines differ by factors",
        from_plan(lambda c: c.unit),
    ),
    _field(
        "unit.observed",
        _CELL,
        _MUST,
        "engines fall back without a word",
        from_loads(lambda e: e.unit),
        unknown=_WARN,
    ),
    _field(
        "placement",
        _CELL,
        _WARN,
        "a rewrite may move operations on purpose",
        from_loads(placement_of),
        neither=_IGNORE,
    ),
    _field(
        "threads.requested",
        _CELL,
        _MUST,
        "threads decide the latency",
        from_plan(lambda c: c.threads),
    ),
    _field(
        "threads.observed",
        _CELL,
        _MUST,
        "threads decide the latency",
        from_loads(lambda e: e.threads),
        unknown=_WARN,
        neither=_WARN,
    ),
    _field(
        "cores.requested",
        _CELL,
        _MUST,
        "big and little cores differ by factors",
        from_plan(lambda c: "any" if c.cores is None else tuple(sorted(c.cores))),
    ),
    _field(
        "cores.observed",
        _CELL,
        _MUST,
        "as above: what came of it",
        from_loads(lambda e: None if e.cores is None else tuple(sorted(e.cores))),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    # Where.
    _field(
        "device.kind",
        _SESSION,
        _WARN,
        "another way to reach a device; what it is made of is below",
        from_record(lambda s: s.opened.device.kind),
    ),
    _field(
        "device.serial",
        _SESSION,
        _WARN,
        "two devices of one model differ in their silicon and batteries",
        from_record(lambda s: s.opened.device.serial),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "machine.model",
        _SESSION,
        _MUST,
        "another machine; where its model is not told, its processor stands for it",
        from_hello(model_of),
    ),
    _field(
        "machine.soc",
        _SESSION,
        _MUST,
        "another processor",
        from_hello(lambda h: h.machine.soc),
        unknown=_WARN,
    ),
    _field(
        "machine.architecture",
        _SESSION,
        _MUST,
        "other instructions",
        from_hello(lambda h: h.machine.architecture),
        unknown=_WARN,
    ),
    _field(
        "machine.cores",
        _SESSION,
        _MUST,
        "virtual machines of one name come in sizes",
        from_hello(lambda h: h.machine.cores),
        unknown=_WARN,
    ),
    _field(
        "machine.memory_bytes",
        _SESSION,
        _WARN,
        "models of one name come in sizes; it matters where memory is short",
        from_hello(lambda h: h.machine.memory_bytes),
        neither=_IGNORE,
    ),
    _field(
        "machine.reality",
        _SESSION,
        _MUST,
        "a simulator's times are not a device's",
        from_hello(lambda h: h.machine.reality),
        unknown=_WARN,
    ),
    _field("machine.os", _SESSION, _MUST, "another system", from_hello(lambda h: h.machine.os)),
    _field(
        "machine.os_build",
        _SESSION,
        _MUST,
        "an update changes schedulers, drivers and, on phones, the engine itself",
        from_hello(lambda h: h.machine.os_build),
        unknown=_WARN,
    ),
    # How.
    _field(
        "record.kind",
        _SESSION,
        _MUST,
        "what was measured, played or imported is not one thing",
        from_record(lambda s: s.opened.kind),
    ),
    _field(
        "harness.name",
        _SESSION,
        _MUST,
        "loops differ in what lies inside their clock",
        from_hello(lambda h: h.harness.name),
    ),
    _field(
        "harness.version",
        _SESSION,
        _WARN,
        "the loop is held to its cost by tests; the language's runtime may have changed",
        from_hello(lambda h: h.harness.version),
        neither=_IGNORE,
    ),
    _field(
        "plan.phase",
        _CELL,
        _MUST,
        "a sustained run may be twice as slow as bursts",
        phase,
    ),
    _field(
        "plan.sustained",
        _CELL,
        _MUST,
        "the longer it runs, the hotter it gets",
        sustained,
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "plan.burst.mode",
        _SESSION,
        _MUST,
        "taking turns by single inferences costs caches, and on accelerators a switch of programs",
        from_record(lambda s: s.plan.burst.mode),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "plan.burst.target_ns",
        _SESSION,
        _WARN,
        "longer bursts run hotter and warmer",
        from_record(lambda s: s.plan.burst.target_ns),
        neither=_IGNORE,
    ),
    _field(
        "plan.burst.bounds",
        _SESSION,
        _WARN,
        "they decide how long a burst is where its target does not, and how cold it starts",
        from_record(lambda s: _bounds(s.plan.burst)),
        neither=_IGNORE,
    ),
    _field(
        "plan.warmup",
        _SESSION,
        _WARN,
        "a shorter warm-up may end before the latency holds still",
        from_record(lambda s: tuple(s.plan.warmup.model_dump().values())),
        neither=_IGNORE,
    ),
    _field(
        "plan.gate",
        _SESSION,
        _WARN,
        "another gate keeps other blocks",
        from_record(lambda s: (s.plan.gate.thermal.value, s.plan.gate.control_drift_permille)),
        neither=_IGNORE,
    ),
    _field(
        "plan.neighbours",
        _CELL,
        _WARN,
        "cells of one process share caches and memory",
        neighbours,
    ),
    _field(
        "plan.preset",
        _SESSION,
        _IGNORE,
        "a name; what it stands for is compared above",
        from_record(lambda s: s.plan.preset),
    ),
    _field(
        "reading.governor",
        _SESSION,
        _MUST,
        "it decides the clock",
        states("governor"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.scheduling",
        _SESSION,
        _MUST,
        "a lower class gets other cores; on a phone latency doubled, thermal state still nominal",
        states("scheduling"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.fixed-performance",
        _SESSION,
        _MUST,
        "it caps the clock so that it can be held",
        states("fixed-performance"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.low-power",
        _SESSION,
        _MUST,
        "it lowers the clock",
        states("low-power"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "tools",
        _SESSION,
        _WARN,
        "versions on the host; on a desktop they may run inside the harness too",
        from_record(tools_of),
        neither=_IGNORE,
    ),
    # Readings: they change from moment to moment, and validity judges them.
    _field(
        "reading.battery",
        _SESSION,
        _IGNORE,
        "a reading; a change within a session is a finding",
        states("battery"),
    ),
    *(
        _field(f"reading.{kind}", _SESSION, _IGNORE, reason, states(kind))
        for kind, reason in (
            ("host", "a name; the same machine may be called otherwise tomorrow"),
            ("frequency", "a reading of a moment"),
            ("temperature", "a reading of a moment; heat that matters is in the thermal state"),
            ("thermal", "a reading of a moment, judged as validity"),
            ("load", "a reading of a moment, judged as validity"),
            ("steal", "a reading of a moment, judged as validity"),
            ("memory", "a result"),
        )
    ),
    _field(
        "started",
        _SESSION,
        _IGNORE,
        "when is no identity; what changes with time is above",
        from_record(lambda s: s.opened.started),
    ),
)
