"""A/A sessions: statistics of records made by hand, and a few real ones of a tiny bundle."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from test_bench.conftest import onnx_model
from test_bench.sessions import (
    BASE_NS,
    both,
    changing,
    plan_of,
    reading,
    rejecting,
    session_of,
)
from typer.testing import CliRunner

from benchmarks import control as command
from benchmarks.control_gates import gate_figures, regated
from benchmarks.control_results import (
    Control,
    ControlSession,
    Group,
    goals,
    group,
    judge_share,
    session_figures,
)
from benchmarks.control_sessions import ControlRequest, run_control
from benchmarks.rendering import control, control_section, marks
from benchmarks.results import Verdict
from benchmarks.shares import share
from care_mobile.bench.presets import PRESETS
from care_mobile.bench.protocol.events import Block
from care_mobile.bench.protocol.record import Closed, Session
from care_mobile.bench.stats import log_ratios, ratio
from care_mobile.errors import UsageError

from .test_rendering import rows

DOCUMENT = Path(__file__).parents[2] / "docs/measuring.md"


def drawn(
    seed: int, *, load_sd: float, block_sd: float, rounds: int = 8, blocks: int = 4
) -> Session:
    """Two equal cells; each load and each block of the first moves it."""
    rng = random.Random(seed)
    moved: dict[tuple[int, int], float] = {}
    for number in range(rounds):
        load = rng.gauss(0, load_sd)
        moved |= {(number, block): load + rng.gauss(0, block_sd) for block in range(blocks)}

    def latencies(number: int, block: int, cell: int) -> int:
        return round(BASE_NS * math.exp(moved[number, block])) if cell == 0 else BASE_NS

    return session_of(plan_of(rounds=rounds, blocks=blocks, seed=seed), latencies)


# One session ---------------------------------------------------------------------------------


def test_figures_of_a_session_are_those_of_its_ratio() -> None:
    session = drawn(1, load_sd=0.02, block_sd=0.01)
    found, expected = session_figures(session, 1234), ratio(session, 0, 1)
    assert expected is not None
    assert expected.low is not None
    assert found.log_ratio == pytest.approx(math.log(expected.ratio))
    assert found.low == pytest.approx(math.log(expected.low))
    assert (found.between_sd, found.within_sd) == (expected.between_sd, expected.within_sd)
    assert (found.rounds, found.blocks, found.record_bytes, found.seed) == (8, 32, 1234, 1)


def test_over_blocks_the_interval_is_narrower_where_loads_differ() -> None:
    found = session_figures(drawn(1, load_sd=0.02, block_sd=0.001), 0)
    assert found.low is not None
    assert found.high is not None
    assert found.block_low is not None
    assert found.block_high is not None
    assert found.block_high - found.block_low < 0.7 * (found.high - found.low)


def test_rejected_blocks_and_what_the_control_kernel_did() -> None:
    slower = changing(Block, control_after_ns=lambda b: 2_100_000 if b.block == 0 else 2_000_000)
    edit = both(slower, rejecting(lambda block: block.block == 0))
    found = session_figures(session_of(plan_of(rounds=3, blocks=2), edit=edit), 0)
    assert (found.blocks, found.rejected) == (3, 3)
    kept = {gate.permille: gate.kept for gate in found.gates}
    assert kept == {25: 3, 50: 6, 100: 6, 200: 6, None: 6}
    assert {gate.blocks for gate in found.gates} == {6}


def test_what_other_gates_would_have_left() -> None:
    """Where the kernel drifts the ratio is off: without those blocks the interval is narrower."""

    def latencies(number: int, block: int, cell: int) -> int:
        off = 1.1 if number % 2 else 0.9
        return round(BASE_NS * off) if block == 1 and cell == 0 else BASE_NS

    slower = changing(Block, control_after_ns=lambda b: 2_140_000 if b.block == 1 else 2_000_000)
    session = session_of(plan_of(rounds=6, blocks=3), latencies, edit=slower)
    figures = {each.permille: each for each in gate_figures([regated(session)] * 2)}
    assert figures[50].rejected.value == pytest.approx(1 / 3)
    assert figures[50].half_width == 0
    assert figures[100].rejected.count == 0
    without = ratio(session, 0, 1)
    assert without is not None
    assert without.low is not None
    assert without.high is not None
    expected = math.log(without.high / without.low) / 2
    assert figures[100].half_width == figures[None].half_width == pytest.approx(expected)


def test_without_times_of_the_control_kernel_gates_say_nothing() -> None:
    untimed = changing(Block, control_before_ns=None, control_after_ns=None)
    found = session_figures(session_of(edit=untimed), 0)
    assert found.gates == ()
    assert {each.rejected.total for each in gate_figures([found.gates])} == {0}


def test_seconds_and_load_and_busy() -> None:
    closed = changing(Closed, at="2026-01-02T03:05:15Z")
    quiet = session_figures(session_of(edit=closed), 0)
    assert (quiet.seconds, quiet.load, quiet.busy) == (70, None, False)
    loaded = session_figures(session_of(readings=(reading("load", value=9000),)), 0)
    assert (loaded.load, loaded.busy) == (9.0, True)


def test_a_session_without_evidence_has_no_interval() -> None:
    found = session_figures(session_of(edit=rejecting(lambda block: True)), 0)
    assert (found.log_ratio, found.low, found.block_low, found.blocks) == (None, None, None, 0)
    together = group([found])
    assert together.different.total == together.within_margin.total == 0
    assert together.bias is None
    one = session_figures(session_of(plan_of(rounds=1)), 0)
    assert one.log_ratio == 0
    assert group([one]).different.total == 0


# Many ----------------------------------------------------------------------------------------


def with_interval(low: float, high: float, **changes: object) -> ControlSession:
    found = session_figures(session_of(), 0)
    given = {"log_ratio": (low + high) / 2, "low": low, "high": high}
    return found.model_copy(update=given | changes)


def test_shares_have_exact_intervals() -> None:
    """Clopper and Pearson's of 0 of 20 ends at 1 - 0.025 ** (1 / 20)."""
    none = share(0, 20)
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert share(20, 20).low == pytest.approx(0.025 ** (1 / 20))
    assert (share(0, 0).low, share(0, 0).high, share(0, 0).value) == (0, 1, None)


def test_what_counts_as_different_and_as_within() -> None:
    edge = math.log(1.03) - 1e-9
    found = group(
        [
            with_interval(-0.01, 0.02),
            with_interval(0.001, 0.02),
            with_interval(-0.02, -0.001),
            with_interval(-0.05, 0.01),
            with_interval(-edge, edge),
            with_interval(-edge, edge + 0.001),
            with_interval(0.0, 0.01, block_low=0.001, block_high=0.009),
        ]
    )
    assert (found.different.count, found.different.total) == (2, 7)
    assert found.within_margin.count == 5
    assert found.different_by_blocks.count == 1


def test_bias_and_half_width() -> None:
    found = group([with_interval(0.01, 0.03), with_interval(-0.01, 0.03), with_interval(0.0, 0.08)])
    assert found.bias == pytest.approx((0.02 + 0.01 + 0.04) / 3)
    assert found.bias_low is not None
    assert found.bias_low < found.bias
    assert found.half_width == pytest.approx(0.02)


def test_where_the_variance_comes_from() -> None:
    many = [session_figures(drawn(n, load_sd=0.02, block_sd=0.01), 0) for n in range(40)]
    found = group(many)
    assert found.load_sd == pytest.approx(0.02, rel=0.15)
    assert found.within_sd == pytest.approx(0.01, rel=0.1)
    assert found.between_sd == pytest.approx(math.hypot(0.02, 0.01 / 2), rel=0.15)
    assert found.sessions_sd == pytest.approx(math.hypot(0.02, 0.005) / math.sqrt(8), rel=0.4)
    assert found.different.count <= 8
    assert found.different_by_blocks.count > 10


def test_pooling_weighs_by_degrees_of_freedom() -> None:
    session = drawn(3, load_sd=0.02, block_sd=0.01)
    means = [each.mean for each in log_ratios(session, 0, 1)]
    alone = group([session_figures(session, 0)])
    assert alone.between_sd == pytest.approx(
        math.sqrt(sum((m - sum(means) / 8) ** 2 for m in means) / 7)
    )


# Figures to reach ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "total", "verdict"),
    [
        (14, 200, Verdict.REACHED),
        (15, 200, Verdict.MISSED),
        (0, 20, Verdict.UNCERTAIN),
        (0, 100, Verdict.REACHED),
        (30, 100, Verdict.MISSED),
        (0, 0, Verdict.NOT_MEASURED),
    ],
)
def test_few_sessions_do_not_decide(count: int, total: int, verdict: Verdict) -> None:
    assert judge_share(share(count, total), 0.07, at_most=True) is verdict
    turned = judge_share(share(total - count, total), 1 - 0.07, at_most=False)
    assert turned is verdict


def verdicts(every: Group, seconds: float | None, size: int | None) -> list[Verdict]:
    return [goal.verdict for goal in goals(every, seconds, size)]


def test_time_and_size() -> None:
    every = group([with_interval(-0.01, 0.01)] * 200)
    assert verdicts(every, 75, 199_999) == [Verdict.REACHED] * 4
    assert verdicts(every, 75.5, 200_000)[2:] == [Verdict.MISSED] * 2
    assert verdicts(every, None, None)[2:] == [Verdict.NOT_MEASURED] * 2


# Real sessions -------------------------------------------------------------------------------

ROUNDS = 2


class Real(NamedTuple):
    found: Control
    request: ControlRequest
    first: set[str]
    """Records that lay there after the command was stopped."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from manifests import manifest_of

    from care_mobile.bundle import write_manifest

    path = tmp_path_factory.mktemp("bundles") / "tiny"
    path.mkdir()
    (path / "model.onnx").write_bytes(onnx_model(8, 2))
    write_manifest(path, manifest_of(path))
    return path


@pytest.fixture(scope="module")
def tiny() -> Iterator[str]:
    """A preset with few rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", replace(PRESETS["quick"], preset="tiny", rounds=ROUNDS))
        yield "tiny"


@pytest.fixture(scope="module")
def real(bundle: Path, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Two sessions; in the second round of the second one it was stopped, and went on."""
    request = ControlRequest(
        bundle=bundle,
        sessions=2,
        preset=tiny,
        gated=False,
        output=tmp_path_factory.mktemp("control"),
        command="a test",
    )

    def stop(what: str, share: float) -> None:
        if what.startswith("session 2 of 2, round 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_control(request, stop)
    first = names(request)
    return Real(run_control(request, lambda what, share: None), request, first)


def names(request: ControlRequest) -> set[str]:
    return {path.stem for path in (request.output / "records").iterdir()}


def test_finished_sessions_are_kept(real: Real) -> None:
    assert len(real.first) == 1
    assert {each.session for each in real.found.sessions} == names(real.request)
    assert real.first < names(real.request)
    assert [each.seed for each in real.found.sessions] == [0, 1]


def test_both_cells_are_one_bundle_at_paths_of_their_own(real: Real) -> None:
    from care_mobile.bench.protocol.reading import read_session

    for file in (real.request.output / "records").iterdir():
        cells = read_session(file).plan.cells
        assert len({cell.bundle for cell in cells}) == 1
        assert len({cell.model for cell in cells}) == 2
        assert {cell.cores for cell in cells} == {(real.found.cpu,)}


def test_what_a_real_run_finds(real: Real) -> None:
    found = real.found
    assert found.every.sessions == 2
    assert found.every.different.total == 2
    assert [each.rounds for each in found.sessions] == [ROUNDS] * 2
    assert found.rejected.count == 0
    assert found.record_bytes == max(each.record_bytes for each in found.sessions)
    assert found.seconds is not None
    assert found.goals[0].verdict in (Verdict.UNCERTAIN, Verdict.MISSED)


def test_nothing_is_measured_twice(real: Real) -> None:
    steps: list[str] = []
    again = run_control(real.request, lambda what, share: steps.append(what))
    assert again.sessions == real.found.sessions
    assert not any(step.startswith("session") for step in steps)


def test_fewer_sessions_are_a_part_of_them(real: Real) -> None:
    one = run_control(real.request.model_copy(update={"sessions": 1}), lambda what, share: None)
    assert one.sessions == real.found.sessions[:1]


def test_other_settings_begin_anew(real: Real) -> None:
    """Records of another plan are let lie, and not counted."""

    class BeginsError(Exception):
        pass

    def begin(what: str, share: float) -> None:
        if what.startswith("session 1 of 2"):
            raise BeginsError

    with pytest.raises(BeginsError):
        run_control(real.request.model_copy(update={"gated": True}), begin)


# The document --------------------------------------------------------------------------------


def test_the_document_says_what_was_found(real: Real) -> None:
    wide = [with_interval(-0.05, 0.01, busy=n % 2 == 0, seconds=80) for n in range(20)]
    different = [with_interval(0.001, 0.02, busy=False, seconds=60)]
    every = [*wide, *different]
    quiet = [each for each in every if not each.busy]
    found = real.found.model_copy(
        update={
            "every": group(every),
            "quiet": group(quiet),
            "sessions": tuple(every),
            "goals": goals(group(every), 70.0, 100_000),
            "rejected": share(5, 50),
            "gates": gate_figures([regated(session_of())]),
            "load": 1.25,
        }
    )
    document = control(found)
    table = {row[0]: row[1:] for row in rows(document)}
    assert table["sessions"] == ["21", "11"]
    assert table["interval over rounds excludes 1"][0].startswith("4.8 % (0.1 % to 23.8 %; 1 of 21")
    assert table["interval over rounds excludes 1"][1].startswith("9.1 %")
    assert table["median time of a session on an idle machine, at most 75 s"] == ["70 s", "reached"]
    assert table["largest record, below 200 kB"] == ["100 kB", "reached"]
    assert "The gate rejected 10.0 % (3.3 % to 21.8 %; 5 of 50) blocks." in document
    assert table["2.5 %"] == ["0 %", "0.00 %"]
    assert table["none"] == ["0 %", "0.00 %"]
    assert "load average was 1.2" in document
    assert control_section(found).strip() in document
    assert len([row for row in rows(document) if row[0] == wide[0].session]) == 21


def test_a_document_of_what_was_not_measured(real: Real) -> None:
    nothing = {"quiet": group([]), "quiet_seconds": None, "load": None}
    document = control(real.found.model_copy(update=nothing))
    table = {row[0]: row[1:] for row in rows(document)}
    assert table["interval over rounds excludes 1"][1] == "-"
    assert table["bias of the ratio"][1] == "-"
    assert "load average was unknown" in document


# The command ---------------------------------------------------------------------------------


def test_the_command_renews_its_section_and_no_other(
    real: Real, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "measuring.md"
    begins, ends = marks("control")
    file.write_text(f"before\n{begins}\nold\n{ends}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["control"])
    request = real.request
    arguments = ["--bundle", str(request.bundle), "--preset", request.preset, "--no-gate"]
    arguments += ["--sessions", "2", "--output", str(request.output), "--readme", str(file)]
    done = CliRunner().invoke(command.app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{request.output / 'control.md'}: 2 sessions\n"
    text = file.read_text()
    assert text.startswith(f"before\n{begins}\n2 sessions of `tiny` and a copy of it")
    assert text.endswith(f"\n{ends}\nafter\n")
    content = (request.output / "control.json").read_text()
    assert Control.model_validate_json(content).sessions == real.found.sessions


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(request: ControlRequest, on_step: object) -> Control:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.control_sessions.run_control", stop)
    done = CliRunner().invoke(command.app, ["--output", str(tmp_path)])
    assert isinstance(done.exception, Exception)
    assert getattr(done.exception, "exit_code", None) == 130
    assert "finished sessions are in" in str(done.exception)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"preset": "mlperf"}, "no blocks to compare"), ({"preset": "fast"}, "unknown preset 'fast'")],
)
def test_requests_that_make_no_sense(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    request = ControlRequest(output=tmp_path / "out", command="a test", **changes)
    with pytest.raises(UsageError, match=message):
        run_control(request, lambda what, share: None)
    assert not (tmp_path / "out").exists()


def test_the_document_on_measuring_has_a_place_for_it() -> None:
    begins, ends = marks("control")
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count(begins) == text.count(ends) == 1
