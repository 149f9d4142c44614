"""Whether two records can be compared: what of them is looked at, as data.

Within one session cells are measured side by side, whatever tells them apart is the question, and
`stats.ratio` answers it. Between sessions there is only what both say of themselves: a field of
the comparison key has to be equal, or is worth a warning, or is no identity at all. The table is in
`docs/measuring.md`; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from .evidence import cell_rounds, in_blocks
from .protocol.events import Hello, Loaded
from .protocol.plan import Cell
from .protocol.record import Session

Values = tuple[str, ...]
"""All that a session saw, sorted: one if it held still, none if it is not known."""


class Rule(str, Enum):
    """What a difference does to a comparison."""

    MUST_EQUAL = "must be equal"
    WARN = "warn"
    IGNORE = "ignore"


class Scope(str, Enum):
    """`CELL` fields tell the cells of one session apart; `SESSION` ones are of all of them."""

    CELL = "cell"
    SESSION = "session"


@dataclass(frozen=True)
class KeyField:
    """One field of the comparison key.

    `unknown` is the rule where one of the two does not know it, `neither` where none does.
    `same_network` replaces the rule where the same network is expected on both sides.
    """

    name: str
    scope: Scope
    rule: Rule
    reason: str
    read: Callable[[Session, int], Iterable[object]]
    unknown: Rule
    neither: Rule
    same_network: Rule | None = None

    def values(self, session: Session, cell: int) -> Values:
        """What a session says; nothing if it says that it does not know."""
        if self._lacking(session.opened.lacks):
            return ()
        found = {_text(value) for value in self.read(session, cell)}
        return tuple(sorted(found - _UNKNOWN))

    def _lacking(self, lacks: Sequence[str]) -> bool:
        name = self.name.replace(".", "-").replace("_", "-")
        return any(name == code or name.startswith(f"{code}-") for code in lacks)


_UNKNOWN = frozenset(("", "unknown"))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value) or "none"
    return str(value)


def _planned(read: Callable[[Cell], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        yield read(session.plan.cells[cell])

    return values


def _loaded(read: Callable[[Loaded], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        for _, own in cell_rounds(session, cell):
            if own.loaded is not None:
                yield read(own.loaded)

    return values


def _hello(read: Callable[[Hello], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        for found, _ in cell_rounds(session, cell):
            if found.hello is not None:
                yield read(found.hello)

    return values


def _state(kind: str) -> Callable[[Session, int], Iterator[object]]:
    """The states of a sensor in the rounds of a cell."""

    def values(session: Session, cell: int) -> Iterator[object]:
        for found, _ in cell_rounds(session, cell):
            for reading in found.readings:
                if reading.kind == kind:
                    yield reading.state if reading.state is not None else reading.value

    return values


def _opened(read: Callable[[Session], object]) -> Callable[[Session, int], Iterator[object]]:
    def values(session: Session, cell: int) -> Iterator[object]:
        yield read(session)

    return values


def _phase(session: Session, cell: int) -> Iterator[object]:
    yield "bursts" if in_blocks(session, cell) else "sustained"


def _neighbours(session: Session, cell: int) -> Iterator[object]:
    for planned in session.plan.rounds:
        if cell in planned.cells:
            yield len(planned.cells) - 1


def _placement(loaded: Loaded) -> object:
    if loaded.placement is None:
        return None
    return tuple(f"{unit} {count}" for unit, count in sorted(loaded.placement.items()))


def _tools(session: Session) -> object:
    return tuple(f"{name} {version}" for name, version in sorted(session.opened.tools.items()))


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
        _planned(lambda c: c.bundle.content_sha256),
        same_network=_MUST,
    ),
    _field(
        "bundle.model",
        _CELL,
        _MUST,
        "other networks are compared within one session",
        _planned(lambda c: c.bundle.model),
    ),
    _field(
        "bundle.target",
        _CELL,
        _MUST,
        "formats are compared within one session",
        _planned(lambda c: c.bundle.target),
    ),
    _field(
        "bundle.precision",
        _CELL,
        _MUST,
        "precisions are compared within one session",
        _planned(lambda c: c.bundle.precision),
    ),
    _field(
        "bundle.resolution",
        _CELL,
        _MUST,
        "work grows with the pixels",
        _planned(lambda c: c.bundle.resolution),
    ),
    _field(
        "bundle.random_weights",
        _CELL,
        _WARN,
        "speed depends on values only where they are denormal or zero",
        _planned(lambda c: c.bundle.random_weights),
    ),
    _field(
        "cell.label",
        _CELL,
        _IGNORE,
        "a name for people",
        _planned(lambda c: c.label),
    ),
    # What runs it.
    _field(
        "engine.name",
        _CELL,
        _MUST,
        "engines are compared within one session",
        _loaded(lambda e: e.engine.name),
    ),
    _field(
        "engine.version",
        _CELL,
        _MUST,
        "a release changes kernels",
        _loaded(lambda e: e.engine.version),
    ),
    _field(
        "engine.backend",
        _CELL,
        _MUST,
        "other kernels",
        _loaded(lambda e: e.engine.backend),
        neither=_IGNORE,
    ),
    _field(
        "unit.requested",
        _CELL,
        _MUST,
        "CPU, GPU and neural engines differ by factors",
        _planned(lambda c: c.unit),
    ),
    _field(
        "unit.observed",
        _CELL,
        _MUST,
        "engines fall back without a word",
        _loaded(lambda e: e.unit),
        unknown=_WARN,
    ),
    _field(
        "placement",
        _CELL,
        _WARN,
        "a rewrite may move operations on purpose",
        _loaded(_placement),
        neither=_IGNORE,
    ),
    _field(
        "threads.requested",
        _CELL,
        _MUST,
        "threads decide the latency",
        _planned(lambda c: c.threads),
    ),
    _field(
        "threads.observed",
        _CELL,
        _MUST,
        "threads decide the latency",
        _loaded(lambda e: e.threads),
        unknown=_WARN,
        neither=_WARN,
    ),
    _field(
        "cores.requested",
        _CELL,
        _MUST,
        "big and little cores differ by factors",
        _planned(lambda c: "any" if c.cores is None else tuple(sorted(c.cores))),
    ),
    _field(
        "cores.observed",
        _CELL,
        _MUST,
        "as above: what came of it",
        _loaded(lambda e: None if e.cores is None else tuple(sorted(e.cores))),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    # Where.
    _field(
        "device.kind",
        _SESSION,
        _WARN,
        "another way to reach a device; what it is made of is below",
        _opened(lambda s: s.opened.device.kind),
    ),
    _field(
        "device.serial",
        _SESSION,
        _WARN,
        "two devices of one model differ in their silicon and batteries",
        _opened(lambda s: s.opened.device.serial),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "machine.model",
        _SESSION,
        _MUST,
        "another machine",
        _hello(lambda h: h.machine.model),
    ),
    _field("machine.soc", _SESSION, _MUST, "another processor", _hello(lambda h: h.machine.soc)),
    _field(
        "machine.architecture",
        _SESSION,
        _MUST,
        "other instructions",
        _hello(lambda h: h.machine.architecture),
    ),
    _field(
        "machine.cores",
        _SESSION,
        _MUST,
        "virtual machines of one name come in sizes",
        _hello(lambda h: h.machine.cores),
    ),
    _field(
        "machine.memory_bytes",
        _SESSION,
        _WARN,
        "models of one name come in sizes; it matters where memory is short",
        _hello(lambda h: h.machine.memory_bytes),
        neither=_IGNORE,
    ),
    _field(
        "machine.reality",
        _SESSION,
        _MUST,
        "a simulator's times are not a device's",
        _hello(lambda h: h.machine.reality),
        unknown=_WARN,
    ),
    _field("machine.os", _SESSION, _MUST, "another system", _hello(lambda h: h.machine.os)),
    _field(
        "machine.os_build",
        _SESSION,
        _MUST,
        "an update changes schedulers, drivers and, on phones, the engine itself",
        _hello(lambda h: h.machine.os_build),
    ),
    # How.
    _field(
        "record.kind",
        _SESSION,
        _MUST,
        "what was measured, played or imported is not one thing",
        _opened(lambda s: s.opened.kind),
    ),
    _field(
        "harness.name",
        _SESSION,
        _MUST,
        "loops differ in what lies inside their clock",
        _hello(lambda h: h.harness.name),
    ),
    _field(
        "harness.version",
        _SESSION,
        _WARN,
        "the loop is held to its cost by tests; the language's runtime may have changed",
        _hello(lambda h: h.harness.version),
    ),
    _field(
        "plan.phase",
        _CELL,
        _MUST,
        "a sustained run may be twice as slow as bursts",
        _phase,
    ),
    _field(
        "plan.burst.mode",
        _SESSION,
        _MUST,
        "taking turns by single inferences costs caches, and on accelerators a switch of programs",
        _opened(lambda s: s.plan.burst.mode),
    ),
    _field(
        "plan.burst.target_ns",
        _SESSION,
        _WARN,
        "longer bursts run hotter and warmer",
        _opened(lambda s: s.plan.burst.target_ns),
    ),
    _field(
        "plan.warmup",
        _SESSION,
        _WARN,
        "a shorter warm-up may end before the latency holds still",
        _opened(lambda s: tuple(s.plan.warmup.model_dump().values())),
    ),
    _field(
        "plan.gate",
        _SESSION,
        _WARN,
        "another gate keeps other blocks",
        _opened(lambda s: (s.plan.gate.thermal.value, s.plan.gate.control_drift_permille)),
    ),
    _field(
        "plan.neighbours",
        _CELL,
        _WARN,
        "cells of one process share caches and memory",
        _neighbours,
    ),
    _field(
        "plan.preset",
        _SESSION,
        _IGNORE,
        "a name; what it stands for is compared above",
        _opened(lambda s: s.plan.preset),
    ),
    _field(
        "reading.governor",
        _SESSION,
        _MUST,
        "it decides the clock",
        _state("governor"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.scheduling",
        _SESSION,
        _MUST,
        "a lower class gets other cores; on a phone latency doubled, thermal state still nominal",
        _state("scheduling"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.fixed-performance",
        _SESSION,
        _MUST,
        "it caps the clock so that it can be held",
        _state("fixed-performance"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "reading.low-power",
        _SESSION,
        _MUST,
        "it lowers the clock",
        _state("low-power"),
        unknown=_WARN,
        neither=_IGNORE,
    ),
    _field(
        "tools",
        _SESSION,
        _WARN,
        "versions on the host; on a desktop they may run inside the harness too",
        _opened(_tools),
        neither=_IGNORE,
    ),
    # Readings: they change from moment to moment, and validity judges them.
    _field(
        "reading.battery",
        _SESSION,
        _IGNORE,
        "a reading; a change within a session is a finding",
        _state("battery"),
    ),
    *(
        _field(f"reading.{kind}", _SESSION, _IGNORE, reason, _state(kind))
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
        _opened(lambda s: s.opened.started),
    ),
)


@dataclass(frozen=True)
class Difference:
    """A field that is not shown to be equal. An empty side does not know."""

    field: str
    rule: Rule
    reason: str
    a: Values
    b: Values

    @property
    def unknown(self) -> bool:
        """Whether the difference is that somebody does not know."""
        return not self.a or not self.b


def comparison_key(session: Session, cell: int) -> dict[str, Values]:
    """What a record says of a cell, by field; nothing where it does not know."""
    return {field.name: field.values(session, cell) for field in FIELDS}


def compare_keys(
    a: Session, b: Session, cell_a: int, cell_b: int, *, same_network: bool = False
) -> tuple[Difference, ...]:
    """Every field that is not shown to be equal, with the rule that decides what that means.

    Fields that tell cells of one session apart are ignored within it: they are what is compared.
    """
    together = a.opened.session == b.opened.session
    return tuple(_differences(a, b, cell_a, cell_b, same_network, together))


def _differences(
    a: Session, b: Session, cell_a: int, cell_b: int, same_network: bool, together: bool
) -> Iterator[Difference]:
    for field in FIELDS:
        left, right = field.values(a, cell_a), field.values(b, cell_b)
        if left == right and (left or together):
            continue
        rule = _rule(field, left, right, same_network)
        if together and field.scope is Scope.CELL and not (same_network and field.same_network):
            rule = Rule.IGNORE
        if not left and not right and rule is Rule.IGNORE:
            continue
        yield Difference(field.name, rule, field.reason, left, right)


def _rule(field: KeyField, left: Values, right: Values, same_network: bool) -> Rule:
    if same_network and field.same_network is not None:
        return field.same_network
    if left and right:
        return field.rule
    return field.unknown if left or right else field.neither


def refused(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those for which two records cannot be compared."""
    return tuple(found for found in differences if found.rule is Rule.MUST_EQUAL)


def warned(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those that have to be said beside a comparison."""
    return tuple(found for found in differences if found.rule is Rule.WARN)
