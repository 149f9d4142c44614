"""Harnesses that keep the protocol, and ones that break one rule of it each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from care_mobile.bench.conformance import ConformanceResult, Outcome, run_conformance
from care_mobile.bench.conformance.rules import RULES
from care_mobile.errors import UsageError

SMALL = [sys.executable, "-S", "-E", str(Path(__file__).parent / "small_harness.py")]
FIRST = "01-one-cell"
EACH = ("02-probes",)
ORDERS = ("08-orders",)

BROKEN = {
    "no-end": ("ends", EACH),
    "no-file": ("ends", EACH),
    "bad-status": ("ends", EACH),
    "garbage": ("lines", EACH),
    "float-times": ("lines", EACH),
    "stale": ("hello", EACH),
    "numbers": ("numbering", EACH),
    "end-count": ("numbering", EACH),
    "after-end": ("numbering", EACH),
    "clock-back": ("clock", ORDERS),
    "epoch-clock": ("clock", EACH),
    "microseconds": ("clock", ("12-paced",)),
    "load-order": ("order", ORDERS),
    "row-order": ("order", ORDERS),
    "phase-order": ("order", ("15-all-phases",)),
    "repeats-load": ("load", ("20-third-round",)),
    "wrong-kernel": ("control", EACH),
    "odd-control": ("control", ("03-calibrated",)),
    "no-calibration": ("control", ("03-calibrated",)),
    "no-last-check": ("answers", EACH),
    "judges-all": ("answers", EACH),
    "no-stride": ("answers", EACH),
    "first-elements": ("answers", EACH),
    "big-endian": ("answers", EACH),
    "answer-name": ("answers", EACH),
    "flat-shape": ("answers", EACH),
    "no-padding": ("answers", EACH),
    "always-steady": ("warm-up", ("04-capped",)),
    "ten-more": ("warm-up", ("05-steady",)),
    "rounds-up": ("burst-size", ("07-sized",)),
    "no-pause": ("pause", ORDERS),
    "no-turns": ("single", ("11-single",)),
    "no-gate": ("gate", ("09-retries",)),
    "rejects-all": ("gate", EACH),
    "never-retries": ("retries", ("09-retries",)),
    "one-more-try": ("retries", ("09-retries",)),
    "no-pace": ("paced", ("12-paced",)),
    "one-less": ("paced", ("12-paced",)),
    "short-run": ("sustained", ("13-sustained",)),
    "overlaps": ("sustained", ("13-sustained",)),
    "any-engine": ("failed-cell", ("16-unknown-engine",)),
    "any-size": ("failed-cell", ("17-bad-probes",)),
    "fails-all": ("failed-cell", ("16-unknown-engine",)),
    "forgets-failed": ("failed-cell", ("16-unknown-engine",)),
    "names-failed": ("failed-cell", ("16-unknown-engine",)),
    "strict-keys": ("unknown-keys", (*EACH, "19-unknown-keys")),
    "any-major": ("other-major", (FIRST,)),
    "any-round": ("bad-arguments", (FIRST,)),
    "no-launch": ("bad-arguments", (FIRST,)),
    "any-argument": ("bad-arguments", (FIRST,)),
    "any-id": ("bad-arguments", (FIRST,)),
    "overwrites": ("existing-file", (FIRST,)),
    "ends-on-sigterm": ("terminated", ("24-long",)),
    "clean-on-sigterm": ("terminated", ("24-long",)),
    "writes-beside": ("one-file", EACH),
    "beside-the-plan": ("one-file", (FIRST,)),
    "changes-the-plan": ("one-file", EACH),
    "leaves-a-child": ("no-leftovers", ORDERS),
}


def _broken(result: ConformanceResult) -> list[str]:
    return [check.name for check in result.checks if check.outcome is Outcome.BROKEN]


@pytest.mark.parametrize("name", BROKEN)
def test_a_harness_that_breaks_a_rule_breaks_that_check_alone(name: str) -> None:
    rule, cases = BROKEN[name]
    result = run_conformance([*SMALL, "--break", name], cases=cases)
    assert _broken(result) == [rule], [c for c in result.checks if c.detail]
    assert not result.passed
    (check,) = (check for check in result.checks if check.name == rule)
    assert check.detail.partition(":")[2].strip()


def test_every_check_can_be_broken() -> None:
    assert {rule for rule, _ in BROKEN.values()} | {"on-disk"} == set(RULES)


def test_a_small_harness_passes_everything() -> None:
    told = []
    result = run_conformance([*SMALL], told.append)
    assert result.passed, [check for check in result.checks if not check.passed]
    assert tuple(told) == result.checks
    assert [check.name for check in told] == list(RULES)
    assert result.harness is not None
    assert result.harness.name == "small"


def test_the_reference_harness_passes_everything() -> None:
    result = run_conformance([sys.executable, "-m", "care_mobile.bench.harness"])
    assert result.passed, [check for check in result.checks if not check.passed]


def test_noise_on_the_console_breaks_nothing() -> None:
    result = run_conformance([*SMALL, "--break", "prints"], cases=EACH)
    assert not _broken(result)


def test_lines_that_are_held_back_are_seen() -> None:
    result = run_conformance([*SMALL, "--break", "buffers"], cases=["24-long"], deadline_s=5.0)
    assert _broken(result) == ["on-disk"]


def test_what_ignores_sigterm_is_seen_and_ended() -> None:
    result = run_conformance([*SMALL, "--break", "ignores-sigterm"], cases=["24-long"])
    assert _broken(result) == ["terminated"]


def test_what_hangs_at_once_is_started_once() -> None:
    result = run_conformance([*SMALL, "--break", "hangs"], deadline_s=1.0)
    assert result.launches == 1
    assert _broken(result)[0] == "ends"
    assert all(
        check.outcome is not Outcome.KEPT or check.name == "existing-file"
        for check in result.checks
    )


@pytest.mark.parametrize("command", [[], ["no-such-program-anywhere", "--fast"], ["/"]])
def test_a_command_that_is_none_is_an_error(command: list[str]) -> None:
    with pytest.raises(UsageError, match="no program"):
        run_conformance(command)


HOSTILE = {
    "does nothing": "true",
    "fails": "exit 3",
    "writes garbage": 'head -c 100000 /dev/urandom > "$8"',
    "writes without end": 'cat /dev/zero > "$8"',
    "writes lines without end": 'yes \'{"event": "note"}\' > "$8"',
    "prints without end": "yes",
    "makes a folder": 'mkdir "$8"',
    "makes a pipe": 'mkfifo "$8"',
    "makes a link to a device": 'ln -s /dev/zero "$8"',
    "removes everything": 'rm -r "$(dirname "$8")"',
    "locks its file": 'echo > "$8"; chmod 000 "$8"',
    "ends itself": "kill -9 $$",
}
"""Shell scripts; $8 is the output file."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_program_that_is_no_harness_ends_typed_and_in_bounded_time(name: str) -> None:
    result = run_conformance(["sh", "-c", HOSTILE[name], "sh"], cases=[FIRST], deadline_s=2.0)
    assert not result.passed
    assert _broken(result)
    assert all(check.detail for check in result.checks if not check.passed)
