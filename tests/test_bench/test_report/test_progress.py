from __future__ import annotations

from collections.abc import Iterable
from io import StringIO

from golden_files import check_golden
from rich.console import Console

from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import Block, Failed, Hello, SustainedRun, Warm
from care_mobile.bench.protocol.plan import Phase, Plan
from care_mobile.bench.protocol.record import (
    Landed,
    Launched,
    RecordKind,
    RoundStatus,
    SessionOpened,
    Waited,
)
from care_mobile.bench.report.live import live
from care_mobile.bench.report.progress import Progress

from ..sessions import DATE, both, cell_of, landing, plan_of, reading, rejecting, session_of


class Clock:
    """Each look is a tenth of a second later."""

    def __init__(self, step_ns: int = 100_000_000) -> None:
        self.now_ns, self.step_ns = 0, step_ns

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


def lines_of(plan: Plan | None = None, **changes: object) -> list[Contract]:
    """Of a whole session, the first one included."""
    told: list[Contract] = []
    edit = changes.pop("edit", lambda line: line)

    def note(line: Contract) -> Contract:
        told.append(line)
        return line

    found = session_of(plan or plan_of(), edit=both(edit, note), **changes)  # type: ignore[arg-type]
    return [found.opened, *told]


def after(lines: Iterable[Contract], clock: Clock | None = None) -> Progress:
    progress = Progress(clock or Clock())
    for line in lines:
        progress.saw(line)
    return progress


def drawn(progress: Progress, width: int = 80) -> str:
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(progress)
    return out.getvalue()


def until(lines: list[Contract], kind: type[Contract], count: int) -> list[Contract]:
    places = [place for place, line in enumerate(lines) if isinstance(line, kind)]
    return lines[: places[count - 1] + 1]


def test_a_round_a_block_and_running_medians_are_shown() -> None:
    readings = (reading("temperature", value=41_250), reading("thermal", "light"))
    lines = lines_of(latencies=lambda r, b, c: (c + 1) * 1_000_000, readings=readings)
    text = drawn(after(until(lines, Block, 4)))
    check_golden("bench/report/progress.txt", text)
    assert "round 2 of 5" in text
    assert "block 2 of 2" in text
    assert "41.2 °C" in text
    assert "thermal light" in text
    assert "1.000 ms  tiny-0 (4 blocks)" in text
    assert "2.000 ms  tiny-1 (4 blocks)" in text


def test_the_share_never_goes_back_and_ends_at_1() -> None:
    plan = plan_of(phases=(Phase.BURST, Phase.PACED, Phase.SUSTAINED))
    progress = Progress(Clock())
    shares = []
    for line in lines_of(plan):
        progress.saw(line)
        shares.append(progress.share())
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(set(shares)) > 20


def test_what_is_left_is_told_after_a_round() -> None:
    lines = lines_of()
    assert after(until(lines, Landed, 1)[:-1]).left_ns() is None
    clock = Clock()
    progress = after(until(lines, Launched, 2), clock)
    took_ns = clock.step_ns
    assert progress.left_ns() == 4 * took_ns - clock.step_ns


def test_rejected_blocks_are_counted_and_give_no_figure() -> None:
    lines = lines_of(edit=rejecting(lambda block: block.block == 0))
    progress = after(until(lines, Block, 1))
    assert (progress.rejected, progress.median_ns(0)) == (1, None)
    assert "block 1 rejected: control-drift" in progress.phase
    assert "5 blocks rejected" in drawn(after(lines))


def test_lost_rounds_and_failures_are_told() -> None:
    progress = after(lines_of(edit=landing(1, RoundStatus.CRASHED, "signal")))
    assert (progress.landed, progress.lost) == (4, 1)
    progress.saw(Failed(n=0, at_ns=0, code="load-failed", cell=1))
    assert "failed: tiny-1: load-failed" in drawn(progress)
    progress.saw(Failed(n=0, at_ns=0, code="out-of-memory"))
    assert "failed: the launch: out-of-memory" in drawn(progress)


def test_every_line_fits_however_long_a_name_is() -> None:
    lines = lines_of(plan_of((cell_of(0, label="x" * 200),)))
    for upto in (until(lines, Warm, 1), lines):
        text = drawn(after(upto), width=60).splitlines()
        assert text[0].startswith("round ")
        assert all(len(line) <= 60 for line in text)
        assert len(text) <= 4


def test_cooling_down_is_told() -> None:
    progress = after(lines_of()[:1])
    progress.saw(Waited(round=1, waited_ns=30_000_000_000, reason="thermal state\nserious"))
    assert progress.phase == "cooling down for 30 s: thermal state serious"


def test_a_functional_run_shows_no_time() -> None:
    assert " ms" not in drawn(after(lines_of(kind=RecordKind.FUNCTIONAL)))


def test_lines_that_nobody_has_checked_do_no_harm() -> None:
    every = lines_of()
    strangers = [line for line in lines_of(plan_of(5)) if not isinstance(line, SessionOpened)]
    progress = after([*strangers, every[0], *strangers, Launched(round=999, launch="x", at=DATE)])
    assert "round" in drawn(progress)
    assert progress.median_ns(4) is not None  # of before the plan was known
    assert after([every[0], *strangers]).median_ns(4) is None


def test_many_cells_fit_on_a_screen() -> None:
    text = drawn(after(lines_of(plan_of(30))))
    assert "and 22 more" in text
    assert len(text.splitlines()) < 14


def frames(lines: Iterable[Contract], clock: Clock, *, terminal: bool = True) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, highlight=False)
    with live(console, clock) as (on, _):
        for line in lines:
            on(line)
    return out.getvalue()


def test_it_is_drawn_at_most_twice_a_second() -> None:
    plan = plan_of(rounds=1, phases=(Phase.SUSTAINED,))
    lines = lines_of(plan)
    shown = frames(lines, Clock(step_ns=10_000_000)).count("round 1 of 1")
    assert any(isinstance(line, SustainedRun) for line in lines)
    assert len(lines) > 20
    assert shown <= 4  # the first line, the launch and its landing, and the end
    assert frames(lines, Clock(step_ns=600_000_000)).count("round 1 of 1") >= len(lines)


def test_without_a_terminal_only_the_waiting_is_said() -> None:
    assert frames(lines_of(), Clock(), terminal=False) == ""
    out = StringIO()
    with live(Console(file=out, width=80)) as (_, waiting):
        waiting("pid 7 [bold]x[/]")
        waiting("pid 7 [bold]x[/]")
        waiting("pid 8")
    assert out.getvalue() == (
        "waiting: the device is in use by pid 7 [bold]x[/]\n"
        "waiting: the device is in use by pid 8\n"
    )


def test_hello_is_loading() -> None:
    assert after(until(lines_of(), Hello, 1)).phase == "loading"
