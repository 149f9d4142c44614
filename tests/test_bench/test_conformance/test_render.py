from __future__ import annotations

import io
import json

from rich.console import Console

from care_mobile.bench.conformance.findings import Findings
from care_mobile.bench.conformance.render import conclusion, print_result
from care_mobile.bench.conformance.results import ConformanceResult
from care_mobile.bench.conformance.rules import RULES


def _result(findings: Findings, *rules: str) -> ConformanceResult:
    checks = tuple(findings.check(rule) for rule in rules)
    return ConformanceResult(command=("node", "h.js"), harness=None, launches=7, checks=checks)


def _findings() -> Findings:
    findings = Findings()
    findings.note("ends", None, "01")
    findings.note("clock", None, "01")
    findings.note("clock", "an \x1b[31mhour\nago", "02")
    findings.note("clock", "two hours ago", "03")
    return findings


def test_the_first_problem_is_kept_and_harmless() -> None:
    check = _findings().check("clock")
    assert check.detail == "02: an \\x1b[31mhour ago"
    assert not check.passed


def test_a_rule_that_nothing_showed_is_not_kept() -> None:
    result = _result(_findings(), "ends", "paced")
    assert not result.passed
    assert "1 kept, 1 not run" in conclusion(result)
    assert _result(_findings(), "ends").passed


def test_json_says_all_and_whether_it_passed() -> None:
    data = json.loads(_result(_findings(), *RULES).model_dump_json())
    assert data["passed"] is False
    assert data["version"] == 1
    assert [check["name"] for check in data["checks"]] == list(RULES)
    assert {check["outcome"] for check in data["checks"]} == {"kept", "broken", "not run"}


def test_the_table_has_every_check_and_what_was_seen() -> None:
    for width in (60, 120):
        text = io.StringIO()
        print_result(_result(_findings(), *RULES), Console(file=text, width=width))
        lines = text.getvalue().splitlines()
        assert all(any(line.startswith(f"{rule} ") for line in lines) for rule in RULES)
        assert "hour ago" in text.getvalue()
        assert max(map(len, lines[:-1])) <= width
