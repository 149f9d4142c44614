"""Whatever a file holds, reading it ends with a value or a typed error: never anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from golden_files import FOLDER
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.bench.protocol.plan import Plan
from care_mobile.bench.protocol.reading import (
    ProtocolError,
    RecordError,
    last_event,
    read_round,
    read_session,
)
from care_mobile.bench.records import open_record
from care_mobile.bench.validity import judge
from fuzz.mutate import damaged, damaged_lines

PROTOCOL = FOLDER / "protocol"
VALID = sorted((PROTOCOL / "valid").iterdir())
PLAN = Plan.model_validate_json((PROTOCOL / "plan.json").read_bytes())
OLD = FOLDER / "bench" / "v1"
RECORDS = [
    *sorted((OLD / "upgraded").iterdir()),
    FOLDER / "bench/imported/golden/perf.yaml-0.jsonl",
]


def _shuffled(content: bytes, draw: random.Random) -> bytes:
    """Lines swapped, doubled or lost."""
    lines = content.splitlines(keepends=True)
    for _ in range(draw.randint(1, 3)):
        place, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        kind = draw.randrange(4)
        if kind == 0:
            lines[place], lines[other] = lines[other], lines[place]
        elif kind == 1:
            lines.insert(place, lines[other])
        elif kind == 2 and len(lines) > 1:
            del lines[place]
        else:
            lines[other] = lines[place][: draw.randrange(len(lines[place]) + 1)] + lines[other]
    return b"".join(lines)


def _harmed(content: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    return draw.choice((damaged, damaged_lines, _shuffled))(content, draw)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading") / "file.jsonl"


@given(file=st.sampled_from(VALID), number=st.integers(0, 2), seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_a_round_is_read_or_refused(file: Path, number: int, seed: int, scratch: Path) -> None:
    scratch.write_bytes(_harmed(file.read_bytes(), seed))
    last_event(scratch)
    try:
        found = read_round(scratch, PLAN, PLAN.rounds[number], f"launch-{number}")
    except ProtocolError as error:
        assert error.code and len(str(error)) < 2000 and "\n" not in str(error)  # noqa: PT017
    else:
        ends = [event.event for event in found.events if event.event == "end"]
        assert len(ends) == found.ended
        assert [e.at_ns for e in found.events] == sorted(e.at_ns for e in found.events)


@given(file=st.sampled_from(RECORDS), seed=st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_record_is_read_and_judged_or_refused(file: Path, seed: int, scratch: Path) -> None:
    scratch.write_bytes(_harmed(file.read_bytes(), seed))
    try:
        session = read_session(scratch)
    except RecordError as error:
        assert len(str(error)) < 2000 and "\n" not in str(error)  # noqa: PT017
    else:
        cells = range(len(session.plan.cells))
        assert all(cell in cells for r in session.rounds for cell in r.cells)
        assert all(b.cell in cells for r in session.rounds for k in r.blocks for b in k.bursts)
        judge(session)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_an_old_record_is_opened_or_refused(seed: int, scratch: Path) -> None:
    from fuzz.mutate import damaged_json

    scratch.write_bytes(damaged_json((OLD / "scripted.json").read_bytes(), random.Random(seed)))
    try:
        session = open_record(scratch)
    except RecordError as error:
        assert len(str(error)) < 2000 and "\n" not in str(error)  # noqa: PT017
    else:
        judge(session)
