"""Checks of the clock, the control kernel and warm-ups."""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol.arithmetic import control_text
from ..protocol.events import Control, Event, Loaded, PacedRun, Reading, Warm
from ..protocol.plan import LoadKind, Warmup
from .kernel import state_after
from .rounds import Absent, Finished

_SLACK_NS = 50_000_000
_FAR = 500
"""A clock in another unit is at least 1,000 times off; a start may take many times the round."""


def clock(found: Finished) -> str | None:
    last = found.events[-1].at_ns
    if last > found.elapsed_ns * 1.01 + _SLACK_NS:
        return f"its clock says {last} ns at its end, after {found.elapsed_ns} ns at most"
    for event in found.events:
        for name, moment in _moments(event):
            if moment > event.at_ns:
                return f"line {event.n + 1}: {name} is later than its at_ns"
    if any(found.all(PacedRun)) and last * _FAR < found.elapsed_ns:
        return f"its clock says {last} ns at its end, after about {found.elapsed_ns} ns"
    return None


def _moments(event: Event) -> Iterator[tuple[str, int]]:
    for name in ("start_ns", "end_ns"):
        if hasattr(event, name):
            yield name, getattr(event, name)
    for name in ("readings", "before", "after"):
        readings: tuple[Reading, ...] = getattr(event, name, ())
        for reading in readings:
            yield f"at_ns of a reading in {name}", reading.at_ns


def load(found: Finished) -> str | None:
    wished = found.planned.load
    due = wished if wished is LoadKind.CACHED else LoadKind.UNPROVEN
    loads = list(found.all(Loaded))
    if not loads:
        raise Absent
    for event in loads:
        if event.kind is not due:
            said = f"{event.kind.value}, where {wished.value} is wished"
            return f"cell {event.cell} of noop says that its load was {said}"
    return None


def control(found: Finished) -> str | None:
    gate = found.plan.gate
    events = list(found.all(Control))
    if len(events) != 1:
        return f"there are {len(events)} lines control"
    (event,) = events
    if gate.control_iterations is not None and event.iterations != gate.control_iterations:
        return f"{event.iterations} iterations, and the gate asks for {gate.control_iterations}"
    if gate.control_iterations is None:
        times, rest = divmod(event.iterations, 1024)
        if rest or times & (times - 1):
            return f"{event.iterations} iterations are not 1024, doubled some times"
        if event.control_ns < gate.control_ns and event.iterations < 2**30:
            return f"calibrated to {event.control_ns} ns, less than {gate.control_ns} ns"
    wanted = control_text(state_after(event.iterations))
    if event.checksum != wanted:
        return f"the result of {event.iterations} iterations is {wanted}, not {event.checksum}"
    return None


def warm_up(found: Finished) -> str | None:
    if not found.warm:
        raise Absent
    rules = found.plan.warmup
    return next(filter(None, (_warm(event, rules) for event in found.warm.values())), None)


def _warm(event: Warm, rules: Warmup) -> str | None:
    count, took = event.iterations, event.total_ns
    enough = count >= rules.min_iterations or took >= rules.min_ns
    spent = count >= rules.max_iterations or took >= rules.max_ns
    generous = rules.tolerance_permille == 1_000_000 and event.latency_ns > 0
    problems = {
        "one of them took longer": event.first_ns > took or event.latency_ns > took,
        "their median is not the only one": count == 1 and event.latency_ns != event.first_ns,
        "max_iterations is less": count > rules.max_iterations,
        "that is not enough to be steady": event.steady and (count < 2 or not enough),
        "it is not steady, and no limit was reached": not event.steady and not spent,
        f"any latencies are steady after {rules.min_iterations}": generous
        and took < rules.min_ns
        and count != rules.min_iterations,
    }
    problem = next((said for said, holds in problems.items() if holds), None)
    return problem and f"cell {event.cell}: {count} iterations in {took} ns; {problem}"
