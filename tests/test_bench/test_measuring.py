"""`docs/measuring.md` says what the code does."""

from __future__ import annotations

import re

import pytest

from care_mobile.bench.protocol.plan import LoadKind
from care_mobile.bench.protocol.record import RecordKind

from .measuring_tables import DOCUMENT, TABLES, renewed

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_code() -> None:
    """Written anew by `PYTHONPATH=tests python -m test_bench.measuring_tables`."""
    assert renewed(TEXT) == TEXT


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_is_missing_is_seen(table: object) -> None:
    assert callable(table)
    without = TEXT.replace(table().splitlines()[-1] + "\n", "")
    assert without != TEXT
    assert renewed(without) == TEXT


@pytest.mark.parametrize("kinds", [LoadKind, RecordKind])
def test_all_kinds_are_explained(kinds: type[LoadKind | RecordKind]) -> None:
    assert {kind.value for kind in kinds} <= set(re.findall(r"`([a-z]+)`", TEXT))
