"""Tables of `docs/measuring.md`, from the data they show.

`PYTHONPATH=tests python -m test_bench.measuring_tables` writes them into the document.
"""

from __future__ import annotations

import re
from pathlib import Path

from care_mobile.bench.comparability import FIELDS, KeyField, Rule
from care_mobile.bench.presets import PRESETS, Settings
from care_mobile.bench.validity import RULES

DOCUMENT = Path(__file__).parents[2] / "docs/measuring.md"


def validity() -> str:
    """The rules of validity."""
    rows = [
        f"| `{rule.code.value}` | {' or '.join(s.value for s in rule.severities)} "
        f"| {rule.when} | {rule.why} |"
        for rule in RULES
    ]
    return _table("| finding | severity | when | because |", rows)


def comparability() -> str:
    """The comparison key."""
    head = "| field | rule | one does not know | neither knows | because |"
    return _table(head, [_field(field) for field in FIELDS])


def _field(field: KeyField) -> str:
    rule = field.rule.value
    if field.same_network is not None:
        rule += f"; of the same network {field.same_network.value}"
    refuse = {Rule.MUST_EQUAL: "refuse", Rule.WARN: "warn", Rule.IGNORE: "ignore"}
    return (
        f"| `{field.name}` | {rule} | {refuse[field.unknown]} | {refuse[field.neither]} "
        f"| {field.reason} |"
    )


def presets() -> str:
    """What the presets do."""
    rows = [
        f"| `{name}` | {found.rounds} | {found.blocks or 'none'} | {_besides(found)} |"
        for name, found in PRESETS.items()
    ]
    return _table("| preset | rounds | blocks in each | besides |", rows)


def _besides(found: Settings) -> str:
    told = [f"bursts of {found.burst.target_ns // 10**6} ms"] if found.blocks else []
    counts = (
        (found.cold_rounds, "cold load"),
        (found.paced_rounds, "paced run"),
        (found.sustained_rounds, "sustained run"),
    )
    told += [f"{what}s in {count} round{'s' * (count > 1)}" for count, what in counts if count]
    return ", ".join(told)


def _table(head: str, rows: list[str]) -> str:
    return "\n".join((head, "|" + "---|" * (head.count("|") - 1), *rows)) + "\n"


TABLES = (presets, validity, comparability)


def renewed(text: str) -> str:
    """A document with its tables as they are now; a table is known by its first line."""
    for table in TABLES:
        found = table()
        head = re.escape(found.partition("\n")[0])
        text, count = re.subn(rf"^{head}\n(?:\|.*\n)*", lambda _, t=found: t, text, flags=re.M)
        if count != 1:
            raise ValueError(f"the document has {count} tables that begin with {head}")
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
