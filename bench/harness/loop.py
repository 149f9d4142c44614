"""One round: load every cell, check its answers, warm up, measure, check again.

It knows clocks and callables, no disk, no terminal and no runtime. A cell that fails ends there
and the others go on.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from care_mobile.errors import CareError
from care_mobile.text import shortened, visible

from ..protocol.arithmetic import burst_iterations
from ..protocol.base import MAX_DETAIL
from ..protocol.events import (
    MAX_ANSWERS,
    Answer,
    Block,
    CellBurst,
    Checked,
    Control,
    Event,
    Failed,
    Loaded,
    Note,
    PacedRun,
    Reading,
    SustainedRun,
    Warm,
)
from ..protocol.plan import Phase, Plan, Probe, Round
from .control import Calibrated, calibrate, control_time
from .gate import rejection
from .inferences import (
    FAILURES,
    Timed,
    alternating,
    burst,
    paced,
    stretch,
    warm_up,
)
from .tools import CellFailure, LoadedCell, Tools, UnsaidError

T = TypeVar("T")


def run_round(plan: Plan, planned: Round, tools: Tools) -> None:
    """Everything between `hello` and `end`.

    Raises:
        Exception: whatever `tools.emit` raises; the file ends there.
    """
    try:
        _Running(plan, planned, tools).run()
    finally:
        gc.unfreeze()


class _Running:
    def __init__(self, plan: Plan, planned: Round, tools: Tools) -> None:
        self._plan = plan
        self._planned = planned
        self._tools = tools
        self._living: dict[int, LoadedCell] = {}
        """In the order of loading."""
        self._counts: dict[int, int] = {}
        """Inferences of a burst."""

    def run(self) -> None:
        gate = self._plan.gate
        control = calibrate(gate.control_ns, gate.control_iterations, self._tools)
        self._tools.emit(
            Control,
            iterations=control.iterations,
            checksum=control.checksum,
            control_ns=control.control_ns,
        )
        for cell in self._planned.cells:
            self._load(cell)
        gc.collect()
        gc.freeze()  # what is here stays: the collections before bursts need not look at it
        for cell in tuple(self._living) if self._planned.phases else ():
            self._warm_up(cell)
        if Phase.BURST in self._planned.phases:
            for number in range(len(self._planned.blocks)):
                self._slot(number, control)
        if Phase.PACED in self._planned.phases:
            for cell in tuple(self._living):
                self._paced(cell)
        if Phase.SUSTAINED in self._planned.phases:
            for cell in tuple(self._living):
                self._sustained(cell)
        for cell in tuple(self._living):
            for probe in self._judged(cell)[:1]:
                self._check(cell, probe, "after")

    # A cell ------------------------------------------------------------------------------

    def _attempt(self, cell: int, code: str, step: Callable[[], T]) -> T | None:
        """What `step` gives; None if it failed, and then the cell has ended."""
        try:
            return step()
        except FAILURES as error:
            self._fail(cell, code, error)
            return None

    def _fail(self, cell: int, code: str, error: BaseException) -> None:
        self._living.pop(cell, None)
        if isinstance(error, CellFailure):
            code = error.code
        elif isinstance(error, MemoryError):
            code = "out-of-memory"
        self._tools.emit(Failed, code=code, detail=_detail(error), cell=cell)

    def _tell(self, kind: type[Event], cell: int, /, **fields: Any) -> None:
        """A line about a cell; where it cannot be said, the cell ends."""
        if cell not in self._living:
            return
        try:
            self._tools.emit(kind, cell=cell, **fields)
        except UnsaidError as error:
            self._fail(cell, error.code, error)

    def _judged(self, cell: int) -> Sequence[Probe]:
        return [probe for probe in self._plan.cells[cell].probes if probe.judged]

    def _load(self, cell: int) -> None:
        asked = self._plan.cells[cell]
        kind = self._planned.load
        loaded = self._attempt(cell, "load-failed", lambda: self._tools.load(cell, asked, kind))
        if loaded is None:
            return
        self._living[cell] = loaded
        self._tell(Loaded, cell, **vars(loaded.facts))
        for code, detail in loaded.notes:
            self._tell(Note, cell, code=code, detail=_line(detail))
        for probe in self._judged(cell):
            if cell in self._living:
                self._check(cell, probe, "before")

    def _check(self, cell: int, probe: Probe, moment: Literal["before", "after"]) -> None:
        loaded = self._living[cell]
        answers = self._attempt(cell, "inference-failed", lambda: _few(loaded.answers(probe)))
        if answers is not None:
            self._tell(Checked, cell, probe=probe.name, moment=moment, answers=tuple(answers))

    def _warm_up(self, cell: int) -> None:
        loaded, rules = self._living[cell], self._plan.warmup
        warm = self._attempt(cell, "inference-failed", lambda: warm_up(loaded, rules, self._tools))
        if warm is not None:
            self._tell(Warm, cell, **warm._asdict())
            self._counts[cell] = burst_iterations(warm.latency_ns, self._plan.burst)

    # Blocks ------------------------------------------------------------------------------

    def _slot(self, number: int, control: Calibrated) -> None:
        """A block, again while it is rejected, as often as the gate grants."""
        for attempt in range(self._plan.gate.retries + 1):
            if not self._living or self._block(number, attempt, control):
                return

    def _block(self, number: int, attempt: int, control: Calibrated) -> bool:
        """Measure a block and say whether it was accepted, or nothing is left to measure."""
        tools = self._tools
        start = self._since(tools.now_ns())
        before, control_before = self._look(), self._control(control)
        bursts = self._bursts(self._planned.blocks[number])
        control_after, after = self._control(control), self._look()
        if not bursts:
            return True
        times = None
        if control_before is not None and control_after is not None:
            times = (control_before, control_after)
        rejected = rejection(self._plan.gate, before, after, times)
        try:
            tools.emit(
                Block,
                block=number,
                attempt=attempt,
                start_ns=start,
                end_ns=self._since(tools.now_ns()),
                bursts=tuple(self._of(cell, timed) for cell, timed in bursts),
                control_before_ns=control_before,
                control_after_ns=control_after,
                before=before,
                after=after,
                rejected=rejected,
            )
        except UnsaidError as error:
            for cell, _ in bursts:
                self._fail(cell, error.code, error)
        return rejected is None

    def _control(self, control: Calibrated) -> int | None:
        if self._plan.gate.control_drift_permille is None:
            return None
        return control_time(control.iterations, self._tools)[1]

    def _bursts(self, row: Sequence[int]) -> list[tuple[int, Timed]]:
        """Of the cells that live to the end of it, in the order of the row."""
        order = [cell for cell in row if cell in self._living]
        if self._plan.burst.mode == "single":
            return self._alternating(order)
        found = []
        for cell in order:
            loaded, count = self._living[cell], self._counts[cell]
            step = partial(burst, loaded, count, self._tools)
            timed = self._attempt(cell, "inference-failed", step)
            if timed is not None:
                found.append((cell, timed))
            self._pause()
        return found

    def _alternating(self, order: Sequence[int]) -> list[tuple[int, Timed]]:
        """As many inferences of each as of the cell that is granted the fewest."""
        count = min(self._counts[cell] for cell in order)
        results = alternating([self._living[cell] for cell in order], count, self._tools)
        found = []
        for cell, result in zip(order, results, strict=True):
            if isinstance(result, Timed):
                found.append((cell, result))
            else:
                self._fail(cell, "inference-failed", result)
        self._pause()
        return found

    def _pause(self) -> None:
        if self._plan.burst.pause_ns:
            self._tools.sleep_ns(self._plan.burst.pause_ns)

    def _of(self, cell: int, timed: Timed) -> CellBurst:
        return CellBurst(cell=cell, **self._times(timed))

    def _times(self, timed: Timed) -> dict[str, Any]:
        return {
            "start_ns": self._since(timed.start_ns),
            "end_ns": self._since(timed.end_ns),
            "samples_ns": tuple(timed.samples_ns),
            "cpu_ns": timed.cpu_ns,
        }

    # Other phases ------------------------------------------------------------------------

    def _paced(self, cell: int) -> None:
        loaded, rules = self._living[cell], self._plan.paced
        assert rules is not None  # the plan was checked
        before = self._look()
        run = self._attempt(cell, "inference-failed", lambda: paced(loaded, rules, self._tools))
        if run is None:
            return
        self._tell(
            PacedRun,
            cell,
            start_ns=self._since(run.start_ns),
            interval_ns=rules.interval_ns,
            samples_ns=tuple(run.samples_ns),
            late_ns=tuple(run.late_ns),
            cpu_ns=run.cpu_ns,
            before=before,
            after=self._look(),
        )

    def _sustained(self, cell: int) -> None:
        loaded, rules = self._living[cell], self._plan.sustained
        assert rules is not None  # the plan was checked
        until = self._tools.now_ns() + rules.duration_ns
        count = 0
        while cell in self._living and (count < rules.min_count or self._tools.now_ns() < until):
            step = partial(stretch, loaded, until, rules.min_count - count, self._tools)
            timed = self._attempt(cell, "inference-failed", step)
            if timed is None:
                return
            count += len(timed.samples_ns)
            self._tell(SustainedRun, cell, **self._times(timed), after=self._look())

    def _since(self, raw_ns: int) -> int:
        return raw_ns - self._tools.origin_ns

    def _look(self) -> tuple[Reading, ...]:
        return self._tools.look(self._since(self._tools.now_ns()))


def _detail(error: BaseException) -> str:
    """An error in a line for people."""
    kind = "" if isinstance(error, CareError | CellFailure) else f"{type(error).__name__}: "
    return _line(f"{kind}{error}")


def _line(text: str) -> str:
    return shortened(visible(" ".join(text.split())), MAX_DETAIL)


def _few(answers: list[Answer]) -> list[Answer]:
    if len(answers) > MAX_ANSWERS:
        raise CellFailure(
            "too-large", f"it has {len(answers)} outputs, and an event holds {MAX_ANSWERS}"
        )
    return answers
