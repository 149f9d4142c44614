"""Loads cells of a plan: pinning, threads, a cold file, the clock around the load and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from care_mobile.errors import CareError

from ..protocol.events import Answer
from ..protocol.plan import Cell, LoadKind, Plan, Probe
from .engines import RUNTIME_ENGINES, EngineKind, Inputs, Model, Prepared, refused
from .pages import drop
from .pinning import SUPPORTED, Pinning
from .probing import answers_of, read_inputs
from .tools import CellFailure, LoadedCell, LoadFacts
from .torch_network import TORCH_ENGINES

ENGINES: Mapping[str, EngineKind] = {**RUNTIME_ENGINES, **TORCH_ENGINES}
"""By the name that plans use; a new engine is a line here."""
NO_AFFINITY = ("affinity-not-supported", "this system cannot pin a process to cores; it ran on any")
NOISE = ("noise-inputs", "the plan has no probe for this cell: it runs on noise")


class Loader:
    """See the module's docstring.

    Args:
        folder: of the plan, which all its paths are below.
        memory_bytes: what is resident in this process.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        now_ns: Callable[[], int],
        memory_bytes: Callable[[], int | None],
        engines: Mapping[str, EngineKind] | None = None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._now_ns = now_ns
        self._memory_bytes = memory_bytes
        self._engines = ENGINES if engines is None else engines
        self._pinning = Pinning()
        self._pinned = any(cell.cores is not None for cell in plan.cells)
        self._pools: dict[str, tuple[int, tuple[int, ...] | None]] = {}

    def load(self, index: int, cell: Cell, kind: LoadKind) -> LoadedCell:
        """A cell that is ready to be measured.

        Raises:
            CellFailure: if it cannot be.
        """
        engine = self._engines.get(cell.engine)
        if engine is None:
            known = ", ".join(sorted(self._engines))
            raise CellFailure("no-engine", f"there is no engine {cell.engine} here, only {known}")
        self._claim_pool(cell, engine)
        self._enter(cell.cores)
        prepared = engine.prepare(cell, self._folder)
        feed, notes = self._feed(cell, prepared)
        notes = (*notes, *prepared.notes)
        kind = _shown(kind, prepared)
        begin = self._now_ns()
        model = prepared.load()
        load_ns = self._now_ns() - begin
        try:
            infer = model.bind(feed)
        except CareError as error:
            raise refused(error) from error
        pins = cell.cores is not None and SUPPORTED
        facts = LoadFacts(
            kind=kind,
            load_ns=load_ns,
            compile_ns=model.compile_ns,
            engine=model.engine,
            unit=prepared.unit,
            threads=prepared.threads,
            cores=cell.cores if pins else None,
            memory_bytes=self._memory_bytes(),
        )
        return LoadedCell(
            facts=facts,
            infer=infer,
            answers=partial(self._answers, model),
            enter=partial(self._enter, cell.cores) if self._pinned and SUPPORTED else None,
            notes=notes if pins or cell.cores is None else (*notes, NO_AFFINITY),
        )

    def _claim_pool(self, cell: Cell, engine: EngineKind) -> None:
        """The first cell of a round decides what a pool of the whole process is like."""
        if engine.pool is None:
            return
        wanted = (cell.threads, cell.cores)
        held = self._pools.setdefault(engine.pool, wanted)
        if held != wanted:
            raise CellFailure(
                "shared-pool",
                f"{cell.engine} has one pool of threads in a process, and an earlier cell of this "
                f"round has it with {held[0]} threads on {_cores(held[1])}",
            )

    def _enter(self, cores: tuple[int, ...] | None) -> None:
        if cores == ():
            raise CellFailure("no-core", "cores is an empty list: leave it out, or name a core")
        missing = sorted(set(cores or ()) - set(self._pinning.usable)) if SUPPORTED else []
        if missing:
            usable = _cores(self._pinning.usable)
            raise CellFailure("no-core", f"there is no core {missing[0]} here, only {usable}")
        self._pinning.to(cores)

    def _feed(self, cell: Cell, prepared: Prepared) -> tuple[Inputs, tuple[tuple[str, str], ...]]:
        """What the loop runs on, and what must be said of it."""
        if cell.probes:
            return read_inputs(cell.probes[0], self._folder), ()
        noise = prepared.noise()
        return noise, (NOISE,) if noise else ()

    def _answers(self, model: Model, probe: Probe) -> list[Answer]:
        inputs = read_inputs(probe, self._folder)
        return answers_of(model.run(inputs), self._plan.answer_elements)


def _shown(kind: LoadKind, prepared: Prepared) -> LoadKind:
    """What a load is about to be: as asked, if that is so for certain."""
    if kind is LoadKind.FIRST and (prepared.keeps_cache or not prepared.files):
        return LoadKind.UNPROVEN
    if kind is LoadKind.COLD and not (prepared.files and drop(prepared.files)):
        return LoadKind.UNPROVEN
    return kind


def _cores(cores: tuple[int, ...] | None) -> str:
    return "any core" if cores is None else f"cores {','.join(map(str, cores))}"
