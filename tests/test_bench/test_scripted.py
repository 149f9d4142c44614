from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from care_mobile.bench.devices.scripted import Event, EventKind, Script, read_script
from care_mobile.bench.environment import ThermalStatus
from care_mobile.bench.record import Outcome, RecordKind, RunRecord, WarningCode
from care_mobile.errors import UsageError

Play = Callable[..., list[RunRecord]]


def codes(record: RunRecord) -> list[WarningCode]:
    return [warning.code for warning in record.warnings]


def test_latencies_are_played_and_marked(play: Play) -> None:
    a, b = play(Script(latencies_ns={"a": (1000,)}, default_ns=(3000,)))
    assert set(a.samples_ns) == {1000}
    assert set(b.samples_ns) == {3000}
    assert codes(a) == codes(b) == [WarningCode.SCRIPTED]
    assert a.session_id == b.session_id
    assert (a.environment.machine.device, a.bundle_index, b.bundle_index) == ("scripted", 0, 1)


def test_throttling_slows_and_heats_from_its_block_on(play: Play) -> None:
    event = Event(kind=EventKind.THROTTLE, block=4, factor=1.5)
    record = play(Script(default_ns=(1000,), events=(event,)), blocks=8)[0]
    assert [block.samples_ns[0] for block in record.blocks] == [1000] * 4 + [1500] * 4
    assert [r.status for r in record.thermal] == (
        [ThermalStatus.NOMINAL] * 5 + [ThermalStatus.SEVERE] * 4
    )
    assert set(codes(record)) == {
        WarningCode.SCRIPTED,
        WarningCode.NO_STEADY_STATE,
        WarningCode.THROTTLED,
    }


def test_one_bundle_fails_alone(play: Play) -> None:
    event = Event(kind=EventKind.FAIL, block=2, bundle="b")
    a, b = play(Script(events=(event,)))
    assert (a.outcome, len(a.blocks)) == (Outcome.COMPLETED, 4)
    assert (b.outcome, len(b.blocks)) == (Outcome.FAILED, 2)
    assert "b: failed" in b.reason


def test_the_device_disappears_for_all(play: Play) -> None:
    records = play(Script(events=(Event(kind=EventKind.DISAPPEAR, block=1),)))
    assert [(r.outcome, len(r.blocks)) for r in records] == [(Outcome.DEVICE_LOST, 1)] * 2


def test_a_simulator_has_no_latency(play: Play) -> None:
    record = play(Script(functional=True))[0]
    assert record.kind is RecordKind.FUNCTIONAL
    assert (record.samples_ns, record.warmup_ns) == ([], ())
    assert record.counts == {"inferences": 4 * 5}
    assert codes(record) == [WarningCode.FUNCTIONAL_ONLY]


def test_a_script_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text('{"latencies_ns": {"a": [1, 2]}, "events": [{"kind": "fail", "block": 3}]}')
    script = read_script(file)
    assert script.latencies_ns == {"a": (1, 2)}
    assert script.events == (Event(kind=EventKind.FAIL, block=3),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "the file"),
        ('{"default_ns": []}', "default_ns"),
        ('{"latencies_ns": {"a": [0.5]}}', "latencies_ns.a.0"),
        ('{"events": [{"kind": "explode", "block": 1}]}', "events.0.kind"),
    ],
)
def test_a_bad_script_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "script.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_script(file)


def test_a_missing_script_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_script(tmp_path / "none.json")
