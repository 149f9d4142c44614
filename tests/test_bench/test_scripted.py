from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care_mobile.bench.devices.scripted import Event, EventKind, Script, read_script
from care_mobile.bench.environment import ThermalStatus
from care_mobile.bench.record import Outcome, RecordKind, RunRecord, WarningCode
from care_mobile.bench.stats import paired_ratio, summarize
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
        ('{"default_ns": [-1]}', "default_ns.0"),
        ('{"default_ns": [1e400]}', "default_ns.0"),
        (f'{{"default_ns": [{10**400}]}}', "default_ns.0"),
        (f'{{"latencies_ns": {{"a": [{2**63}]}}}}', "latencies_ns.a.0"),
        ('{"events": [{"kind": "throttle", "block": 1, "factor": 1e308}]}', "factor"),
        ('{"events": [{"kind": "throttle", "block": 1, "factor": Infinity}]}', "factor"),
        ('{"events": [{"kind": "throttle", "block": 1, "factor": NaN}]}', "factor"),
        ('{"events": [{"kind": "fail", "block": 10000000000000000000000}]}', "block"),
        ("[" * 100_000, "the file"),
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


def test_a_clock_that_runs_over_loses_the_device(play: Play) -> None:
    slow = tuple(Event(kind=EventKind.THROTTLE, block=1, factor=1000.0) for _ in range(5))
    record = play(Script(default_ns=(3600 * 10**9,), events=slow))[0]
    assert record.outcome is Outcome.DEVICE_LOST
    assert "ran over" in record.reason


LATENCIES = st.lists(st.integers(0, 3600 * 10**9), min_size=1, max_size=4).map(tuple)
EVENTS = st.lists(
    st.builds(
        Event,
        kind=st.sampled_from(EventKind),
        block=st.integers(0, 999),
        bundle=st.none() | st.sampled_from("ab"),
        factor=st.floats(0.001, 1000),
    ),
    max_size=6,
).map(tuple)


@given(default=LATENCIES, events=EVENTS, functional=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_script_says_its_session_is_summarized(
    play: Play, default: tuple[int, ...], events: tuple[Event, ...], functional: bool
) -> None:
    records = play(Script(default_ns=default, events=events, functional=functional), blocks=2)
    for record in records:
        assert RunRecord.model_validate_json(record.model_dump_json()) == record
        if record.samples_ns:
            assert summarize(record.samples_ns).median_ns >= 0
        if record.outcome is Outcome.COMPLETED and not functional:
            ratio = paired_ratio(record, record)
            assert ratio.ratio == 1
