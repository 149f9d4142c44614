from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_files import check_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from care_mobile.bench.devices.scripted import Event, EventKind, Script
from care_mobile.bench.record import (
    Outcome,
    RecordError,
    RecordKind,
    RunRecord,
    read_record,
    run_record_schema,
    write_records,
)
from care_mobile.bench.stats import paired_ratio, summarize
from care_mobile.errors import OutputError

from .conftest import GOLDEN, STAMP, schema_file, schema_text

Play = Callable[..., list[RunRecord]]
SCRIPT = Script(latencies_ns={"a": (1000, 1100, 900), "b": (2000,)})


def test_records_survive_the_disk(play: Play, tmp_path: Path) -> None:
    records = play(SCRIPT)
    files = write_records(tmp_path / "records", records)
    assert [read_record(file) for file in files] == records
    folder = tmp_path / "records" / STAMP.session_id
    assert sorted(folder.iterdir()) == sorted(files)
    assert [file.name for file in files] == ["00-a.json", "01-b.json"]


def test_golden_record(play: Play) -> None:
    throttle = Event(kind=EventKind.THROTTLE, block=3, factor=1.5)
    record = play(SCRIPT.model_copy(update={"events": (throttle,)}))[0]
    check_file(GOLDEN / "v1" / "scripted.json", record.model_dump_json(indent=1) + "\n")


def test_schema_is_current() -> None:
    check_file(schema_file("run-record-1.json"), schema_text(run_record_schema()))


def test_samples_keep_their_order(play: Play) -> None:
    record = play(SCRIPT, blocks=2, iterations=3)[0]
    played = [*record.warmup_ns, *record.samples_ns]
    assert played == [(1000, 1100, 900)[i % 3] for i in range(len(played))]
    assert len(record.samples_ns) == 6
    assert [block.number for block in record.blocks] == [0, 1]
    assert record.blocks[0].start_ns < record.blocks[1].start_ns


def test_nothing_is_left_when_the_disk_refuses(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def full_after_one(path: Path, text: str, encoding: str) -> int:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path.name)
        return len(text)

    monkeypatch.setattr(Path, "write_text", full_after_one)
    with pytest.raises(OutputError, match="No space left"):
        write_records(tmp_path / "records", play(SCRIPT))
    assert written == ["00-a.json"]
    assert list((tmp_path / "records").iterdir()) == []


def test_an_interrupt_while_writing_leaves_nothing(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "records", play(SCRIPT))
    assert list((tmp_path / "records").iterdir()) == []


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text[:100], "the file"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2', 1), "version"),
        (lambda text: text.replace('"outcome": "completed"', '"outcome": "fine"'), "outcome"),
        (lambda text: text.replace('"bundle_index": 0', '"bundle_index": 1'), "not the plan's"),
        (lambda text: text.replace('"kind": "latency"', '"kind": "functional"'), "no latency"),
        (lambda text: text.replace("1100", "-1", 1), "warmup_ns"),
        (lambda text: text.replace("1100", "1100.5", 1), "warmup_ns"),
    ],
)
def test_a_bad_file_is_one_line(
    play: Play, tmp_path: Path, edit: Callable[[str], str], says: str
) -> None:
    (file, _) = write_records(tmp_path, play(SCRIPT))
    text = file.read_text()
    assert edit(text) != text
    file.write_text(edit(text))
    with pytest.raises(RecordError, match=says) as caught:
        read_record(file)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        read_record(tmp_path / "none.json")


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": Outcome.FAILED},
        {"reason": "why not"},
        {"blocks": ()},
        {"kind": RecordKind.FUNCTIONAL},
    ],
)
def test_contradictions_are_refused(play: Play, change: dict[str, Any]) -> None:
    record = play(SCRIPT)[0]
    with pytest.raises(ValidationError):
        RunRecord.model_validate({**dict(record), **change})


def test_blocks_out_of_order_are_refused(play: Play) -> None:
    record = play(SCRIPT)[0]
    with pytest.raises(ValidationError, match="block numbers"):
        RunRecord.model_validate({**dict(record), "blocks": record.blocks[::-1]})


HOSTILE = [10**400, -1, 2**63, 1e999, float("nan"), "\x1b[2J", None, [[]], "n" * 5000]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all leaves of a JSON value."""
    children = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list)
        else ()
    )  # fmt: skip
    found = [place for key, child in children for place in places(child, (*path, key))]
    return found or [path]


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_record_holds_it_is_read_and_summarized_or_refused(
    play: Play, tmp_path: Path, data: st.DataObject
) -> None:
    content = json.loads(play(SCRIPT)[0].model_dump_json())
    *way, last = data.draw(st.sampled_from(places(content)))
    holder = content
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(st.sampled_from(HOSTILE))
    file = tmp_path / "record.json"
    file.write_text(json.dumps(content))
    try:
        record = read_record(file)
    except RecordError as error:
        assert len(str(error)) < 1000  # noqa: PT017
    else:
        assert summarize(record.samples_ns).count == len(record.samples_ns)
        paired_ratio(record, record)


def test_a_pipe_is_no_record(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="not a regular file"):
        read_record(tmp_path / "pipe")


def test_a_bundle_of_the_longest_name_has_a_record_too(play: Play, tmp_path: Path) -> None:
    record = play(SCRIPT)[0]
    bundle = record.bundle.model_copy(update={"name": "ü" * 127})
    (file,) = write_records(tmp_path, [record.model_copy(update={"bundle": bundle})])
    assert file.is_file()
