"""Records of the first version, as care-bench wrote them, stay readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from golden_files import check_file

from care_mobile.bench.journal import to_line
from care_mobile.bench.protocol import v1
from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import Reality
from care_mobile.bench.protocol.foreign import WORDS, Lack, session_of
from care_mobile.bench.protocol.plan import LoadKind
from care_mobile.bench.protocol.reading import RecordError, read_session
from care_mobile.bench.protocol.record import RecordKind, RoundStatus, Session
from care_mobile.bench.protocol.upgrade import ORIGIN, upgrade
from care_mobile.bench.records import open_record

from ..conftest import GOLDEN, schema_file, schema_text

V1 = GOLDEN / "v1"
SESSION = V1 / "20261126T131845Z-7ecd22a3"
SCRIPTED = V1 / "scripted.json"


def _record(file: Path = SCRIPTED, **change: Any) -> v1.RunRecord:
    content = {**json.loads(file.read_text()), **change}
    return v1.RunRecord.model_validate_json(json.dumps(content))


def _session() -> list[v1.RunRecord]:
    return [_record(file) for file in sorted(SESSION.iterdir())]


@pytest.mark.parametrize("name", list(v1.schemas()))
def test_schemas_of_the_first_version_stay(name: str) -> None:
    check_file(schema_file(name), schema_text(v1.schemas()[name]))


@pytest.mark.parametrize(
    ("records", "golden"),
    [(_session(), "session.jsonl"), ([_record()], "scripted.jsonl")],
)
def test_golden_upgrade(records: list[v1.RunRecord], golden: str, tmp_path: Path) -> None:
    lines = upgrade(records)
    text = b"".join(map(to_line, lines)).decode()
    check_file(V1 / "upgraded" / golden, text)
    assert read_session(V1 / "upgraded" / golden) == session_of(lines)


def test_samples_order_and_times_are_what_they_were() -> None:
    records = _session()
    session = open_record(SESSION)
    (only,) = session.rounds
    assert session.plan.rounds[0].blocks == records[0].plan.order
    for block in only.blocks:
        assert [burst.cell for burst in block.bursts] == list(records[0].plan.order[block.block])
        for burst in block.bursts:
            old = records[burst.cell].blocks[block.block]
            assert (burst.start_ns, burst.samples_ns) == (old.start_ns, old.samples_ns)
    for cell, record in enumerate(records):
        warm = only.cells[cell].warm
        assert warm is not None and warm.iterations == len(record.warmup_ns)
        assert warm.total_ns == sum(record.warmup_ns)


def test_what_was_not_kept_is_said_and_not_invented() -> None:
    session = open_record(SESSION)
    assert session.opened.origin == ORIGIN
    assert session.opened.kind is RecordKind.LATENCY
    assert set(session.opened.lacks) == {
        "no-rounds", "no-answers", "no-content", "no-cpu-time", "no-load-time",
    }  # fmt: skip
    (only,) = session.completed
    assert only.hello is not None and only.hello.machine.reality is Reality.VIRTUAL
    loaded = only.cells[0].loaded
    assert loaded is not None
    assert (loaded.kind, loaded.load_ns) == (LoadKind.UNPROVEN, None)
    assert all(cell.bundle.content_sha256 is None for cell in session.plan.cells)
    assert [r.state for r in only.readings if r.kind == "host"] == ["host"]
    assert only.cells[0].checked == only.cells[0].judged == ()


def test_every_lack_has_words() -> None:
    assert set(WORDS) == set(Lack)


def test_one_of_several_says_that_others_are_missing() -> None:
    session = open_record(sorted(SESSION.iterdir())[1])
    assert "other-bundles" in session.opened.lacks
    assert len(session.plan.cells) == 1
    assert [len(block.bursts) for block in session.rounds[0].blocks] == [1, 1, 1]


def test_a_script_stays_a_script() -> None:
    session = open_record(SCRIPTED)
    assert session.opened.kind is RecordKind.SCRIPTED
    states = [r.state for r in session.rounds[0].readings if r.kind == "thermal"]
    assert "nominal" in states and "severe" in states
    assert {note.code for note in session.rounds[0].notes} == {"scripted", "throttled"}


def test_a_failed_bundle_keeps_its_blocks_and_its_reason() -> None:
    old = _record()
    record = _record(
        outcome="failed", reason="out of\x1b memory", blocks=json.loads(_dump(old.blocks[:2]))
    )
    (only,) = session_of(upgrade([record])).completed
    failed = only.cells[0].failed
    assert failed is not None
    assert (failed.code, failed.detail) == ("failed", "out of\\x1b memory")
    assert len(only.blocks) == 2


def _dump(blocks: tuple[v1.BlockSamples, ...]) -> str:
    return json.dumps([block.model_dump() for block in blocks])


def test_a_lost_device_is_no_evidence() -> None:
    record = _record(outcome="device-lost", reason="unplugged", blocks=[])
    session = session_of(upgrade([record]))
    assert session.rounds[0].status is RoundStatus.LOST
    assert session.completed == ()
    assert session.closed is not None and session.closed.completed == 0


def test_a_functional_record_stays_functional() -> None:
    record = _record(
        kind="functional", warmup_ns=[], blocks=[], counts={"instructions": 7}, warnings=[]
    )
    session = session_of(upgrade([record]))
    assert session.opened.kind is RecordKind.FUNCTIONAL
    assert session.plan.rounds[0].phases == ()
    assert [note.detail for note in session.rounds[0].notes] == ["instructions: 7"]


def _open(lines: tuple[Contract, ...], file: Path) -> Session:
    file.write_bytes(b"".join(map(to_line, lines)))
    return open_record(file)


def test_hostile_but_valid_old_values_are_carried_over_or_refused(tmp_path: Path) -> None:
    content = json.loads(SCRIPTED.read_text())
    content["environment"]["machine"] |= {"name": "\x1b[2J", "os": "o" * 9000, "cores": 100_000}
    content["environment"]["runtime"] |= {"name": "\u202eX" * 200, "threads": -(10**30)}
    content["environment"]["tools"] = {"a\nb": "\0" * 999}
    content["plan"] |= {"seed": -(10**400), "affinity": [-5, 2, 10**40], "threads": 100_000}
    content["session_id"] = "../ä/" * 50
    content["thermal"][0]["celsius"] = 1e308
    record = v1.RunRecord.model_validate_json(json.dumps(content))
    session = _open(upgrade([record]), tmp_path / "record.jsonl")
    assert session.plan.cells[0].cores == (2,)
    assert session.plan.seed == 0


def test_times_beyond_64_bits_are_refused_in_a_line() -> None:
    content = json.loads(SCRIPTED.read_text())
    content["blocks"][0] |= {"start_ns": 2**63 - 2, "samples_ns": [2**62]}
    record = v1.RunRecord.model_validate_json(json.dumps(content))
    with pytest.raises(RecordError, match="cannot be carried over") as caught:
        upgrade([record])
    assert "\n" not in str(caught.value)


def test_records_of_two_sessions_are_not_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="not of one session"):
        upgrade([_record(), *_session()])
    with pytest.raises(RecordError, match="same bundle"):
        upgrade([_record(), _record()])
