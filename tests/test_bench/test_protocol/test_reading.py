"""Files of rounds that somebody made to hurt: refused with a code, before they become memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care_mobile.bench.harness.script import Script
from care_mobile.bench.protocol import reading
from care_mobile.bench.protocol.plan import Burst
from care_mobile.bench.protocol.reading import ProtocolError, RoundFile, read_round

from ..test_harness.scripts import LAUNCH, make_plan, played

PLAN = make_plan(rounds=1, blocks=2, burst=Burst(min_iterations=2, max_iterations=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    played(folder, Script(), PLAN)
    return (folder / "round-0.jsonl").read_bytes()


def read(content: bytes, folder: Path) -> RoundFile | str:
    """What the host makes of a file: events, or a code."""
    file = folder / "round.jsonl"
    file.write_bytes(content)
    try:
        return read_round(file, PLAN, PLAN.rounds[0], LAUNCH)
    except ProtocolError as error:
        return error.code


@pytest.mark.parametrize(
    "bulk",
    [
        b'{"event":"new","x":[' + b"[]," * (reading.MAX_LISTS + 1) + b"0]}\n",
        b'{"event":"new","x":[' + b"{}," * (reading.MAX_LISTS + 1) + b"0]}\n",
        b'{"event":"new","x":[' + b"0," * (reading.MAX_COMMAS + 1) + b"0]}\n",
        b'{"event":"new","x":[[]]}\n' * (reading.MAX_LISTS // 2),
        b'{"event":"hello"' + b',"k":0' * reading.MAX_LINE_COLONS + b"}\n",
    ],
    ids=["lists", "objects", "values", "lists in many lines", "keys"],
)
def test_what_would_take_gigabytes_is_refused_before_it_is_parsed(
    whole: bytes, tmp_path: Path, bulk: bytes
) -> None:
    first, _, others = whole.partition(b"\n")
    assert read(first + b"\n" + bulk + others, tmp_path) == "too-large"


def test_so_much_as_a_launch_may_hold_is_read(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = whole.count(b"[") + whole.count(b"{")
    monkeypatch.setattr(reading, "MAX_LISTS", lists)
    monkeypatch.setattr(reading, "MAX_COMMAS", whole.count(b","))
    assert isinstance(read(whole, tmp_path), RoundFile)
    monkeypatch.setattr(reading, "MAX_LISTS", lists - 1)
    assert read(whole, tmp_path) == "too-large"


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_read_in_part_or_refused(
    whole: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    lines = whole.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.integers(0, len(lines) - 1))
        place = data.draw(st.integers(0, max(0, len(lines[at]) - 1)))
        piece = data.draw(
            st.sampled_from([b"-", b"9" * 5000, b"NaN", b"\x00", b"\n", b'"', b"e9", b"[" * 999])
            | st.binary(max_size=4)
        )
        lines[at] = data.draw(
            st.sampled_from(
                [
                    lines[at][:place] + piece + lines[at][place:],
                    lines[at][:place] + piece + lines[at][place + 1 :],
                    lines[at][:place],
                    lines[other],
                    b"",
                ]
            )
        )
    read(b"".join(lines), tmp_path)


def test_a_file_cut_anywhere_is_a_round_without_an_end(whole: bytes, tmp_path: Path) -> None:
    complete = read(whole, tmp_path)
    assert isinstance(complete, RoundFile)
    for at in range(1, len(whole), max(1, len(whole) // 60)):
        found = read(whole[:at], tmp_path)
        assert isinstance(found, RoundFile)
        assert not found.ended
        assert found.events == complete.events[: len(found.events)]
