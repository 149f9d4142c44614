"""Lists in the documentation that must not fall behind the code."""

from __future__ import annotations

import re
from pathlib import Path

from care_mobile.coreml.forecast import RULES
from care_mobile.runtimes.interpreter import KERNELS

COREML = (Path(__file__).parents[1] / "docs/coreml.md").read_text(encoding="utf-8")


def test_every_operator_is_listed() -> None:
    _, _, section = COREML.partition("## Operators")
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    listed = re.findall(r"`(\w+)`", "\n".join(rows))
    assert sorted(listed) == sorted(KERNELS)


def test_every_rule_of_the_forecast_is_listed_with_its_severity() -> None:
    listed = re.findall(r"^\| `(ane-[\w-]+)` \| (.+?) \| (\w+) \|", COREML, re.MULTILINE)
    assert listed == [(rule.id, rule.title, rule.severity.value) for rule in RULES]
