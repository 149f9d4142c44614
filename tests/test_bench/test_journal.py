from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from care_mobile.bench.journal import new_journal, old_journal
from care_mobile.bench.protocol.events import Clock, End, HarnessInfo, Hello, Machine
from care_mobile.bench.protocol.plan import Cell, Plan, Round
from care_mobile.bench.protocol.reading import RecordError, read_session
from care_mobile.bench.protocol.record import (
    Closed,
    DeviceReference,
    Landed,
    Launched,
    RecordKind,
    RoundStatus,
    SessionOpened,
)
from care_mobile.errors import OutputError
from test_bench.sessions import NOOP

DATE = "2026-11-26T12:00:00Z"
PLAN = Plan(
    session="s",
    created=DATE,
    cells=(Cell(id="a", label="a", bundle=NOOP, engine="noop"),),
    rounds=tuple(Round(number=n, replicate=n, cells=(0,), phases=()) for n in range(3)),
)
OPENED = SessionOpened(
    session="s",
    started=DATE,
    kind=RecordKind.LATENCY,
    device=DeviceReference(kind="desktop"),
    plan=PLAN,
)
MACHINE = Machine(model="m", os="o", os_build="b", architecture="a", soc="s", cores=1)


def launch(number: int, status: RoundStatus = RoundStatus.COMPLETED) -> list[object]:
    name = f"s-{number}"
    hello = Hello(
        n=0,
        at_ns=0,
        session="s",
        round=number,
        launch=name,
        started=DATE,
        harness=HarnessInfo(name="h", version="1", language="python"),
        clock=Clock(name="c", resolution_ns=1),
        machine=MACHINE,
    )
    return [
        Launched(round=number, launch=name, at=DATE),
        hello,
        End(n=1, at_ns=1, events=1),
        Landed(round=number, launch=name, at=DATE, status=status),
    ]


CLOSED = Closed(at=DATE, completed=1, planned=3, reason="interrupted")


def started(folder: Path, *launches: list[object]) -> Path:
    with new_journal(folder, OPENED) as journal:
        for lines in launches:
            journal.append(lines)  # type: ignore[arg-type]
    return folder / "s.jsonl"


def test_what_has_landed_is_on_the_disk_before_the_next_round(tmp_path: Path) -> None:
    with new_journal(tmp_path, OPENED) as journal:
        assert read_session(journal.file).missing() == (0, 1, 2)
        journal.append(launch(0))  # type: ignore[arg-type]
        assert read_session(journal.file).missing() == (1, 2)


def test_a_session_is_never_written_over(tmp_path: Path) -> None:
    file = started(tmp_path, launch(0))
    before = file.read_bytes()
    with pytest.raises(OutputError, match="exists"), new_journal(tmp_path, OPENED):
        pass
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b'{"event":"launched","rou',
        b'{"event":"launched","round":1,"launch":"s-1","at":"2026-11-26T12:00:00Z"}\n',
        b'{"event":"launched","round":1,"launch":"s-1","at":"2026-11-26T12:00:00Z"}\n{"n":0',
        (CLOSED.model_dump_json(exclude_none=True) + "\n").encode(),
    ],
    ids=["whole", "cut line", "not landed", "cut launch", "closed"],
)
def test_a_journal_goes_on_after_what_landed(tmp_path: Path, tail: bytes) -> None:
    file = started(tmp_path, launch(0))
    sound = file.read_bytes()
    file.write_bytes(sound + tail)
    with old_journal(file) as (journal, found):
        assert file.read_bytes() == sound
        assert found.missing() == (1, 2)
        assert found.closed is None
        journal.append(launch(1))  # type: ignore[arg-type]
    assert read_session(file).missing() == (2,)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    file = started(tmp_path, launch(0))
    with (
        old_journal(file),
        pytest.raises(RecordError, match="another session"),
        old_journal(file),
    ):
        pass


def test_a_round_that_was_lost_is_still_missing(tmp_path: Path) -> None:
    file = started(tmp_path, launch(0, RoundStatus.CRASHED), launch(1))
    assert read_session(file).missing() == (0, 2)
    with old_journal(file) as (journal, _):
        journal.append(launch(0))  # type: ignore[arg-type]
    session = read_session(file)
    assert session.missing() == (2,)
    assert [r.status for r in session.earlier] == [RoundStatus.CRASHED]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(handle: int, content: bytes) -> int:
        if len(content) > 100:
            return write(handle, content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with new_journal(tmp_path, OPENED) as journal:
        journal.append(launch(0))  # type: ignore[arg-type]
        before = journal.file.read_bytes()
        monkeypatch.setattr("care_mobile.bench.journal.os.write", full)
        with pytest.raises(OutputError, match="No space left"):
            journal.append(launch(1))  # type: ignore[arg-type]
        monkeypatch.undo()
        assert journal.file.read_bytes() == before
        journal.append(launch(1))  # type: ignore[arg-type]
    assert read_session(journal.file).missing() == (2,)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"no json\n", b'{"event":"session"}\n'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    with pytest.raises(RecordError), old_journal(file):
        pass
    assert file.read_bytes() == content


def test_a_gate_that_was_left_out_stays_left_out(tmp_path: Path) -> None:
    gate = PLAN.gate.model_copy(update={"control_drift_permille": None})
    opened = OPENED.model_copy(update={"plan": PLAN.model_copy(update={"gate": gate})})
    with new_journal(tmp_path, opened) as journal:
        assert read_session(journal.file).opened == opened
