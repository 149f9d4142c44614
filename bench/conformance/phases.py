"""Checks of cells that fail, and of the phases beside bursts."""

from __future__ import annotations

from itertools import pairwise

from ..protocol.events import PacedRun, SustainedRun
from ..protocol.plan import Sustained
from .contents import clock
from .rounds import Absent, Finished

_LONGEST = 100_000


def failed_cell(found: Finished) -> str | None:
    wanted = set(found.case.fails)
    if not wanted and not found.failed:
        raise Absent
    if spared := sorted(wanted - found.failed):
        return f"cell {spared[0]} did not fail"
    if others := sorted(found.failed - wanted):
        return f"cell {others[0]} failed"
    return None


def paced(found: Finished) -> str | None:
    runs, rules = list(found.all(PacedRun)), found.plan.paced
    if not runs or rules is None or clock(found) is not None:
        raise Absent
    for run in runs:
        if run.interval_ns != rules.interval_ns or len(run.samples_ns) != rules.count:
            return f"{len(run.samples_ns)} inferences every {run.interval_ns} ns"
        span = rules.interval_ns * (rules.count - 1)
        if run.at_ns - run.start_ns < span + run.samples_ns[-1]:
            return f"it took {run.at_ns - run.start_ns} ns, and the last is due after {span} ns"
    return None


def sustained(found: Finished) -> str | None:
    rules = found.plan.sustained
    if rules is None or not any(found.all(SustainedRun)) or not found.ended:
        raise Absent
    for cell in found.living:
        problem = _lasted(
            [run for run in found.all(SustainedRun) if run.cell == cell], found, rules
        )
        if problem is not None:
            return f"cell {cell}: {problem}"
    return None


def _lasted(runs: list[SustainedRun], found: Finished, rules: Sustained) -> str | None:
    if not runs:
        return "no run"
    # Between the line before and the line after, since time passes while lines are written too.
    lasted_ns = found.beside(runs[-1], 1).at_ns - found.beside(runs[0], -1).at_ns
    count = sum(len(run.samples_ns) for run in runs)
    if any(later.start_ns < run.end_ns for run, later in pairwise(runs)):
        return "stretches overlap"
    if any(len(run.samples_ns) > _LONGEST for run in runs):
        return f"a stretch of more than {_LONGEST:,} samples"
    if lasted_ns < rules.duration_ns:
        return f"{lasted_ns} ns, and {rules.duration_ns} were asked for"
    if count < rules.min_count or (rules.duration_ns == 0 and count > rules.min_count):
        return f"{count} inferences, and {rules.min_count} were asked for"
    return None
