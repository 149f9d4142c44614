"""Scripts as they are played: everything that the host shall see, seen."""

from __future__ import annotations

import math
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from care_mobile.bench.conformance import Outcome, run_conformance
from care_mobile.bench.harness.script import Script
from care_mobile.bench.harness.scripted import main
from care_mobile.bench.protocol.events import (
    Block,
    Failed,
    Hello,
    Loaded,
    PacedRun,
    Reality,
    SustainedRun,
    Warm,
)
from care_mobile.bench.protocol.plan import (
    Burst,
    Gate,
    Paced,
    Phase,
    Round,
    Sustained,
    Thermal,
    Warmup,
)
from care_mobile.bench.protocol.reading import RoundFile

from .scripts import make_plan, played

BURST = Burst(min_iterations=4, max_iterations=4)


def script(**fields: Any) -> Script:
    """From JSON, as users write it."""
    import json

    return Script.model_validate_json(json.dumps(fields))


def of(found: RoundFile, kind: type[Any]) -> list[Any]:
    return [event for event in found.events if isinstance(event, kind)]


def samples(found: RoundFile, cell: int) -> list[int]:
    return [
        sample
        for block in of(found, Block)
        for burst in block.bursts
        if burst.cell == cell
        for sample in burst.samples_ns
    ]


def test_latencies_are_played_in_their_order_and_no_time_passes(tmp_path: Path) -> None:
    plan = make_plan(blocks=2, burst=BURST, warmup=Warmup(min_iterations=2, max_iterations=2))
    found = played(tmp_path, script(latencies_ns={"a": [1000, 2000, 3000], "B": [7000]}), plan)
    # Two of the warm-up came first.
    assert samples(found, 0) == [3000, 1000, 2000, 3000, 1000, 2000, 3000, 1000]
    assert set(samples(found, 1)) == {7000}
    assert found.ended
    (hello,) = of(found, Hello)
    assert hello.machine.reality is Reality.SCRIPT


def test_a_script_is_played_alike_every_time(tmp_path: Path) -> None:
    plan = make_plan(blocks=2, burst=BURST)
    noisy = script(seed=7, offset_permille=20, noise_permille=10)
    first, again = (played(tmp_path, noisy, plan) for _ in range(2))
    assert first.events[1:] == again.events[1:]
    other = played(tmp_path, noisy.model_copy(update={"seed": 8}), plan)
    assert samples(first, 0) != samples(other, 0)


def test_each_load_has_an_offset_of_its_own(tmp_path: Path) -> None:
    rounds = 40
    plan = make_plan(rounds, blocks=1, burst=Burst(min_iterations=1, max_iterations=1))
    loads = script(offset_permille=20, default_ns=[10**6])
    offsets = []
    for number in range(rounds):
        found = played(tmp_path, loads, plan, number)
        assert len(set(samples(found, 0))) == 1
        offsets += [math.log(samples(found, cell)[0] / 1e6) for cell in (0, 1)]
    assert len(set(offsets)) > 1.9 * rounds  # whole nanoseconds
    assert statistics.stdev(offsets) == pytest.approx(0.02, rel=0.2)
    assert abs(statistics.mean(offsets)) < 0.005


def test_throttling_slows_heats_and_has_its_blocks_rejected(tmp_path: Path) -> None:
    plan = make_plan(blocks=2, burst=BURST, gate=Gate(retries=1))
    hot = {"kind": "throttle", "round": 0, "block": 1, "factor_permille": 1500}
    blocks = of(played(tmp_path, script(world=[hot], default_ns=[1000]), plan), Block)
    assert [(b.block, b.attempt) for b in blocks] == [(0, 0), (1, 0), (1, 1)]
    assert [b.bursts[0].samples_ns[0] for b in blocks] == [1000, 1500, 1500]
    assert [b.rejected and b.rejected.code for b in blocks] == [None, "thermal", "thermal"]
    states = {r.state for r in blocks[1].before if r.kind == "thermal"}
    assert states == {Thermal.SEVERE.value}
    later = played(tmp_path, script(world=[hot], default_ns=[1000]), plan, 1)
    assert set(samples(later, 0)) == {1500}


def test_a_busy_machine_makes_wait_without_cpu_time(tmp_path: Path) -> None:
    plan = make_plan(blocks=1, burst=BURST)
    busy = script(world=[{"kind": "busy", "factor_permille": 3000}], default_ns=[1000])
    (block,) = of(played(tmp_path, busy, plan), Block)
    assert block.bursts[0].samples_ns == (3000,) * 4
    assert block.bursts[0].cpu_ns == 4000


def test_drift_outliers_and_rounds(tmp_path: Path) -> None:
    plan = make_plan(blocks=1, burst=Burst(min_iterations=40, max_iterations=40))
    slow = played(tmp_path, script(drift_permille_per_second=500, default_ns=[10**7]), plan)
    assert samples(slow, 0)[-1] > samples(slow, 0)[0] * 1.1
    wild = played(
        tmp_path, script(outliers={"every": 10, "factor_permille": 9000}, default_ns=[1000]), plan
    )
    assert sorted(samples(wild, 0)) == [1000] * 36 + [9000] * 4
    later = played(tmp_path, script(drift_permille_per_round=100, default_ns=[1000]), plan, 2)
    assert set(samples(later, 0)) == {1200}


def test_the_control_kernel_drifts_in_a_block(tmp_path: Path) -> None:
    plan = make_plan(blocks=2, burst=BURST, gate=Gate(retries=2))
    drift = {"kind": "control-drift", "block": 1, "factor_permille": 1200, "attempts": 1}
    blocks = of(played(tmp_path, script(world=[drift]), plan), Block)
    assert [(b.block, b.attempt, b.rejected and b.rejected.code) for b in blocks] == [
        (0, 0, None),
        (1, 0, "control-drift"),
        (1, 1, None),
    ]


def test_sensors_are_read_as_the_script_says(tmp_path: Path) -> None:
    world = [
        {"kind": "sensor", "sensor": "battery", "value": 800, "state": "charging"},
        {"kind": "sensor", "block": 1, "sensor": "battery", "value": 790, "state": "discharging"},
        {"kind": "sensor", "block": 1, "sensor": "low-power", "state": "yes"},
        {"kind": "sensor", "block": 1, "sensor": "foreground", "state": "no"},
    ]
    plan = make_plan(blocks=2, burst=BURST)
    told = script(world=world, temperatures_millidegrees=[30_000, 31_000])
    first, second = of(played(tmp_path, told, plan), Block)

    def states(readings: Any) -> dict[str, Any]:
        return {r.kind: r.state if r.value is None else (r.value, r.state) for r in readings}

    assert states(first.before) == {
        "thermal": "nominal",
        "foreground": "yes",
        "low-power": "no",
        "battery": (800, "charging"),
        "temperature": (31_000, None),
    }
    assert states(second.after)["battery"] == (790, "discharging")
    assert (states(second.before)["low-power"], states(second.before)["foreground"]) == (
        "yes",
        "no",
    )


def test_placement_changes_between_rounds(tmp_path: Path) -> None:
    world = [
        {"kind": "placement", "cell": "A", "placement": {"npu": 9, "cpu": 1}, "last_round": 0},
        {"kind": "placement", "cell": "A", "round": 1, "placement": {"cpu": 10}, "unit": "cpu"},
    ]
    plan = make_plan(2, blocks=1, burst=BURST)
    found = [of(played(tmp_path, script(world=world), plan, number), Loaded) for number in (0, 1)]
    assert [loaded.placement for loaded, _ in found] == [{"npu": 9, "cpu": 1}, {"cpu": 10}]
    assert [other.placement for _, other in found] == [None, None]


@pytest.mark.parametrize("block", [None, 1])
def test_one_cell_fails_alone(tmp_path: Path, block: int | None) -> None:
    plan = make_plan(blocks=3, burst=BURST)
    fails = script(world=[{"kind": "cell-fails", "cell": "b", "block": block}])
    found = played(tmp_path, fails, plan)
    (failed,) = of(found, Failed)
    assert (failed.cell, failed.code) == (1, "scripted")
    assert len(samples(found, 0)) == 3 * 4
    assert len(samples(found, 1)) == (4 if block else 0)
    assert found.ended


def test_all_phases_are_played(tmp_path: Path) -> None:
    one = Round(
        number=0, replicate=0, cells=(0, 1), phases=(Phase.PACED, Phase.SUSTAINED), blocks=()
    )
    plan = make_plan(
        rounds=1,
    ).model_copy(
        update={
            "rounds": (one,),
            "paced": Paced(interval_ns=10_000_000, count=5),
            "sustained": Sustained(duration_ns=3_000_000_000),
        }
    )
    found = played(tmp_path, script(default_ns=[4_000_000]), plan)
    for paced in of(found, PacedRun):
        assert paced.samples_ns == (4_000_000,) * 5
    assert {event.cell for event in of(found, SustainedRun)} == {0, 1}
    assert sum(len(e.samples_ns) for e in of(found, SustainedRun) if e.cell == 0) in (750, 751)


def test_a_round_without_phases_has_no_latency(tmp_path: Path) -> None:
    found = played(tmp_path, script(), make_plan(blocks=0))
    assert not of(found, Block)
    assert not of(found, Warm)
    assert len(of(found, Loaded)) == 2
    assert found.ended


def test_a_clock_that_runs_over_fails_the_cell(tmp_path: Path) -> None:
    hour = 3600 * 10**9
    slow = [{"kind": "throttle", "factor_permille": 1_000_000}] * 3
    found = played(tmp_path, script(default_ns=[hour], world=slow), make_plan())
    assert {f.code for f in of(found, Failed)} == {"clock-ran-over"}
    assert found.ended


LATENCIES = st.lists(st.integers(1000, 3600 * 10**9), min_size=1, max_size=4)
HAPPENINGS = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["throttle", "busy", "control-drift"]),
            "factor_permille": st.integers(1, 1_000_000),
            "round": st.integers(0, 2),
            "block": st.none() | st.integers(0, 3),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["cell-fails", "wrong-answers"]),
            "cell": st.sampled_from(["a", "B", "*"]),
            "block": st.none() | st.integers(0, 3),
        }
    ),
)


@given(
    default=LATENCIES,
    world=st.lists(HAPPENINGS, max_size=5),
    drift=st.integers(-1000, 1000),
    offset=st.integers(0, 1000),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)
def test_whatever_a_script_says_its_round_keeps_the_protocol(
    tmp_path: Path, default: list[int], world: list[dict[str, Any]], drift: int, offset: int
) -> None:
    wild = script(
        default_ns=default,
        world=world,
        drift_permille_per_second=drift,
        drift_permille_per_round=drift,
        offset_permille=offset,
        noise_permille=offset,
    )
    for number in range(2):
        assert played(tmp_path, wild, make_plan(2, blocks=2, burst=BURST), number).ended


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"--round": "7"}, 2),
        ({"--script": "none.json"}, 2),
        ({"--plan": "none.json"}, 2),
        ({"--output": "none/round.jsonl"}, 1),
    ],
)
def test_what_the_command_cannot_do_is_one_line(
    tmp_path: Path,
    change: dict[str, str],
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("script.json").write_text("{}")
    Path("plan.json").write_text(make_plan().model_dump_json())
    given = {
        "--script": "script.json",
        "--plan": "plan.json",
        "--round": "0",
        "--launch": "l",
        "--output": "round.jsonl",
    }
    arguments = [word for pair in {**given, **change}.items() for word in pair]
    assert main(arguments) == status
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("round.jsonl").exists()


@pytest.mark.slow
def test_it_keeps_the_protocol_but_for_its_clock(tmp_path: Path) -> None:
    """The clock is the script's: it is ahead of the host's, unless the machine is slow."""
    (tmp_path / "script.json").write_text("{}")
    command = [sys.executable, "-m", "care_mobile.bench.harness.scripted"]
    found = run_conformance([*command, "--script", str(tmp_path / "script.json")])
    wrong = {check.name for check in found.checks if check.outcome is not Outcome.KEPT}
    assert wrong <= {"clock"}


def test_an_engine_that_is_no_script_is_refused(tmp_path: Path) -> None:
    plan = make_plan(blocks=1, burst=BURST)
    first, second = plan.cells
    cells = (first, second.model_copy(update={"engine": "onnxruntime"}))
    found = played(tmp_path, script(), plan.model_copy(update={"cells": cells}))
    assert [(f.cell, f.code) for f in of(found, Failed)] == [(1, "no-engine")]
    assert len(samples(found, 0)) == 4
