"""The round files that Swift, Kotlin and whoever else read too."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from golden.protocol import recipe
from golden_files import FOLDER, UPDATE

from care_mobile.bench.protocol.plan import Plan
from care_mobile.bench.protocol.reading import (
    MAX_LINE_BYTES,
    ProtocolError,
    RoundFile,
    lines_of,
    parse,
    read_round,
)
from care_mobile.bench.protocol.record import LINES

GOLDEN = FOLDER / "protocol"
MANIFEST: dict[str, Any] = json.loads((GOLDEN / "rounds.json").read_text())


def load_plan() -> Plan:
    return Plan.model_validate_json((GOLDEN / "plan.json").read_bytes())


def read(file: Path, number: int) -> RoundFile:
    plan = load_plan()
    return read_round(file, plan, plan.rounds[number], f"launch-{number}")


def test_the_files_are_what_the_recipe_makes() -> None:
    made = recipe.files()
    for name, content in made.items():
        file = GOLDEN / name
        if UPDATE in os.environ:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        assert file.read_bytes() == content, f"set {UPDATE}=1 if {file} should change"
    there = {p.relative_to(GOLDEN).as_posix() for p in GOLDEN.rglob("*.json*")}
    assert there == {*made, "arithmetic.json"}


@pytest.mark.parametrize("name", [*MANIFEST["valid"], *MANIFEST["cut-off"]])
def test_what_counts_is_read(name: str) -> None:
    said = {**MANIFEST["valid"], **MANIFEST["cut-off"]}[name]
    found = read(GOLDEN / name, said["round"])
    assert len(found.events) == said["events"]
    assert found.unknown == said["unknown"]
    assert found.ended == (name in MANIFEST["valid"])


@pytest.mark.parametrize("name", MANIFEST["invalid"])
def test_what_breaks_the_protocol_is_refused_with_its_code(name: str) -> None:
    said = MANIFEST["invalid"][name]
    with pytest.raises(ProtocolError) as caught:
        read(GOLDEN / name, said["round"])
    assert caught.value.code == said["code"]
    assert len(str(caught.value)) < 400


def test_all_codes_and_all_kinds_of_events_occur() -> None:
    assert {said["code"] for said in MANIFEST["invalid"].values()} == {
        "stale", "other-version", "garbled", "no-hello", "out-of-order", "time-went-back",
        "unknown-cell", "unknown-probe", "unknown-block", "wrong-order", "after-end",
        "lines-missing", "cell-missing", "blocks-missing", "phase-missing",
        "check-missing",
    }  # fmt: skip
    events = (GOLDEN / "valid" / "every-event.jsonl").read_bytes().splitlines()
    kinds = {json.loads(line)["event"] for line in events}
    assert kinds | {"failed"} == {
        "hello", "control", "loaded", "checked", "warm", "block", "paced", "sustained", "reading",
        "note", "failed", "end",
    }  # fmt: skip


def test_a_line_or_file_without_bounds_is_refused(tmp_path: Path) -> None:
    start = (GOLDEN / "valid" / "small.jsonl").read_bytes().splitlines(keepends=True)[0]
    file = tmp_path / "round-2.jsonl"
    with file.open("wb") as stream:
        stream.write(start)
        stream.truncate(len(start) + MAX_LINE_BYTES + 2)  # zeros that take no space
    with pytest.raises(ProtocolError, match="too large") as caught:
        read(file, 2)
    assert caught.value.code == "too-large"
    with pytest.raises(ProtocolError) as caught:
        list(lines_of(GOLDEN / "valid" / "small.jsonl", 1000))
    assert caught.value.code == "too-large"


def test_an_empty_file_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "round-0.jsonl"
    file.touch()
    assert read(file, 0) == RoundFile((), 0, False)


def test_what_never_ends_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "round-0.jsonl")
    with pytest.raises(OSError, match="not a regular file"):
        read(tmp_path / "round-0.jsonl", 0)


@pytest.mark.parametrize("event", list(LINES))
def test_a_kind_of_line_without_its_content_is_garbled(event: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(json.dumps({"event": event, "at": 1}).encode(), LINES)
    assert caught.value.code == "garbled"
