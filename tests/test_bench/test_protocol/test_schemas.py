from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_files import FOLDER, check_file

from care_mobile.bench.protocol.events import EVENTS
from care_mobile.bench.protocol.record import HOST_EVENTS, LINES
from care_mobile.bench.protocol.schemas import DRAFT, schemas

from ..conftest import schema_file, schema_text

GOLDEN = FOLDER / "protocol"
INVALID = json.loads((GOLDEN / "rounds.json").read_text())["invalid"]


@pytest.mark.parametrize("name", list(schemas()))
def test_schemas_are_current(name: str) -> None:
    check_file(schema_file(name), schema_text(schemas()[name]))


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from _nodes(child)


@pytest.mark.parametrize("name", list(schemas()))
def test_references_lead_somewhere_and_nothing_is_a_fraction(name: str) -> None:
    schema = schemas()[name]
    assert schema["$schema"] == DRAFT
    used = {n["$ref"] for n in _nodes(schema) if isinstance(n.get("$ref"), str)}
    assert used == {f"#/$defs/{each}" for each in schema["$defs"]}
    fractions = [n for n in _nodes(schema["$defs"]) if n.get("type") == "number"]
    # psnr_db, max_abs and equal_share of `judged`: the host's findings, which no harness writes
    assert len(fractions) == (3 if name.startswith("record") else 0)


@pytest.mark.parametrize(
    ("name", "kinds"), [("event-2.json", EVENTS), ("record-line-2.json", LINES)]
)
def test_a_line_is_told_by_its_event(name: str, kinds: dict[str, Any]) -> None:
    schema = schemas()[name]
    *known, unknown = schema["oneOf"]
    told = [schema["$defs"][one["$ref"].rpartition("/")[2]] for one in known]
    assert [one["properties"]["event"]["const"] for one in told] == list(kinds)
    assert all(one["required"][0] == "event" for one in told)
    assert unknown["properties"]["event"]["not"]["enum"] == list(kinds)


def _validator(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(schema_file(name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_golden_files_fit_the_schemas() -> None:
    plan = json.loads((GOLDEN / "plan.json").read_text())
    _validator("plan-2.json").validate(plan)
    event, line = _validator("event-2.json"), _validator("record-line-2.json")
    for file in sorted((GOLDEN / "valid").iterdir()):
        for text in file.read_bytes().splitlines():
            event.validate(json.loads(text))
            line.validate(json.loads(text))


def test_golden_records_fit_the_schemas() -> None:
    line, plan = _validator("record-line-2.json"), _validator("plan-2.json")
    for file in sorted((FOLDER / "bench").rglob("*.jsonl")):
        first, *rest = [json.loads(text) for text in file.read_bytes().splitlines()]
        plan.validate(first["plan"])
        for value in (first, *rest):
            line.validate(value)


def _fits(name: str, file: Path) -> bool:
    validator = _validator(name)
    try:
        lines = [json.loads(text.decode()) for text in file.read_bytes().splitlines()]
    except (ValueError, RecursionError):
        return False
    return all(validator.is_valid(line) for line in lines)


_SPANS_VALUES = {
    "burst-shorter-than-its-samples",
    "burst-outside-its-block",
    "burst-ends-before-it-starts",
    "block-ends-after-it-is-written",
    "more-delays-than-samples",
    "load-without-its-time",  # in a record of another tool it may be missing
    # a schema takes 6000.0 for an integer, and any text
    "time-is-whole-float",
    "sample-is-exponent",
    "lone-surrogate",
}
"""Garbled for readers, yet within what a schema can say."""


def test_garbled_golden_files_do_not_fit() -> None:
    garbled = {Path(name) for name, said in INVALID.items() if said["code"] == "garbled"}
    fitting = {file.stem for file in garbled if _fits("event-2.json", GOLDEN / file)}
    assert fitting == _SPANS_VALUES


def test_every_line_of_the_host_has_a_schema() -> None:
    names = {kind.__name__ for kind in HOST_EVENTS.values()}
    assert names <= set(schemas()["record-line-2.json"]["$defs"])
