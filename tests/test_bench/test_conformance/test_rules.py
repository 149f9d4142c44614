from __future__ import annotations

import re
from pathlib import Path

from care_mobile.bench.conformance.rules import RULES

PAGE = (Path(__file__).parents[3] / "docs/harness-protocol.md").read_text(encoding="utf-8")


def test_rules_are_those_of_the_document_in_its_words_and_order() -> None:
    table = PAGE.partition("| check | rule | section |")[2]
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| \[(.*)\]\(#.*\) \|$", table, re.MULTILINE)
    assert rows == [(name, rule.text, rule.section) for name, rule in RULES.items()]
