"""Run all golden plans through a harness."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from care_mobile.errors import UsageError

from ..protocol.events import Failed, HarnessInfo, Hello
from . import answering, blocks, contents, phases, sequence
from .cases import Case, all_cases
from .conduct import Bench, elsewhere, ended_early, laid_out, refusals
from .findings import Findings
from .launches import Seen
from .results import Check, ConformanceResult
from .rounds import Absent, Finished, Unreadable, read
from .rules import RULES

MOST_HUNG = 3
"""Launches that ran beyond their deadline; then the rest is not tried."""
PATIENCE_SECONDS = 30.0

_SPECIAL = ("failed-cell", "unknown-keys")
"""Rules that whole cases are about."""
_CHECKS: dict[str, Callable[[Finished], str | None]] = {
    "clock": contents.clock,
    "order": sequence.order,
    "load": contents.load,
    "control": contents.control,
    "answers": answering.answers,
    "warm-up": contents.warm_up,
    "burst-size": blocks.burst_size,
    "pause": blocks.pause,
    "single": blocks.single,
    "gate": blocks.gate,
    "retries": blocks.retries,
    "paced": phases.paced,
    "sustained": phases.sustained,
    "failed-cell": phases.failed_cell,
}


def run_conformance(
    command: Sequence[str],
    on_check: Callable[[Check], None] = lambda check: None,
    *,
    on_launch: Callable[[str], None] = lambda what: None,
    deadline_s: float = 60.0,
    cases: Collection[str] | None = None,
) -> ConformanceResult:
    """Run `command` on the golden plans and say which rules of the protocol it keeps.

    Args:
        command: words of the harness's command; the protocol's arguments are added.
        on_check: is told each check when all is run.
        on_launch: is told what is tried next.
        deadline_s: of one launch. A harness that needs none of it ends in about a minute.
        cases: names of the plans to run; all by default.

    Raises:
        UsageError: if the command cannot be started.
    """
    if not command or shutil.which(command[0]) is None:
        name = command[0] if command else ""
        raise UsageError(
            f"there is no program {name!r}", "give its path, and check that it can be executed"
        )
    bench = Bench(command, deadline_s, on_launch)
    harness: HarnessInfo | None = None
    for case in all_cases():
        if cases is not None and case.name not in cases:
            continue
        if _given_up(bench):
            break
        harness = _run(bench, case) or harness
    checks = tuple(bench.findings.check(rule) for rule in RULES)
    for check in checks:
        on_check(check)
    return ConformanceResult(
        command=tuple(command), harness=harness, launches=bench.launches, checks=checks
    )


def _given_up(bench: Bench) -> bool:
    """A harness that hangs at once is not waited for again and again."""
    return bench.hung >= MOST_HUNG or bench.hung == bench.launches == 1


def _run(bench: Bench, case: Case) -> HarnessInfo | None:
    if case.proves == "terminated":
        ended_early(bench, case, min(bench.deadline_s, PATIENCE_SECONDS))
        return None
    harness = _round(bench, case)
    if case.proves == "refusals" and not _given_up(bench):
        refusals(bench, case)
        elsewhere(bench, case)
    return harness


def _round(bench: Bench, case: Case) -> HarnessInfo | None:
    findings = bench.findings
    with laid_out(case) as folder:
        seen, launch = bench.start(case, folder)
        _outside(findings, seen, case)
        if not seen.file.exists():
            return None
        found = read(seen.file, case, launch, seen.elapsed_ns)
    if isinstance(found, Unreadable):
        findings.note(_blamed(found, case), found.problem, case.name)
        return None
    for rule in ("lines", "hello", "numbering"):
        findings.note(rule, None, case.name)
    _ending(findings, seen, found)
    for rule, check in _CHECKS.items():
        with suppress(Absent):
            findings.note(rule, check(found), case.name)
    return next((event.harness for event in found.all(Hello)), None)


def _outside(findings: Findings, seen: Seen, case: Case) -> None:
    """What is seen without reading the file."""
    if not seen.file.exists():
        findings.note(_of_case(case), f"there is no file, and {seen.ending()}", case.name)
    elif seen.beyond is not None or seen.status != 0:
        findings.note(_of_case(case), seen.ending(), case.name)
    if seen.changed:
        findings.note("one-file", f"it changed {', '.join(seen.changed)}", case.name)
    elif seen.file.exists():
        findings.note("one-file", None, case.name)
    if seen.beyond is None:
        left = f"it left {', '.join(seen.left)}" if seen.left else None
        findings.note("no-leftovers", left, case.name)


def _ending(findings: Findings, seen: Seen, found: Finished) -> None:
    case = found.case
    if seen.beyond is not None or seen.status != 0:
        return  # said already
    problem = None if found.ended else "its exit status was 0, and its file has no end"
    for event in found.all(Failed):
        if event.cell is None:
            problem = f"the launch failed: {event.code}: {event.detail}"
    findings.note(_of_case(case), problem, case.name)


def _of_case(case: Case) -> str:
    return case.proves if case.proves in _SPECIAL else "ends"


def _blamed(found: Unreadable, case: Case) -> str:
    """What a case is about is blamed for an order that only it breaks."""
    return case.proves if found.rule == "order" and case.proves in _SPECIAL else found.rule
