"""`scripted=FILE`: a harness that plays a script, for tests and for trying reports.

It takes no time, and its records are of kind `scripted`: they can never be taken for measured ones.
Everything between harness and host is real: a process per round, its file, its crashes.
"""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from care_mobile.bundle import MANIFEST, Bundle
from care_mobile.errors import OutputError
from care_mobile.frozen import MAX_NAME
from care_mobile.processes.peer import module_command
from care_mobile.requirements import Availability

from ..harness import faults, scripted
from ..harness.script import Script, Throttle, read_script
from ..protocol.arithmetic import answer_stride
from ..protocol.base import MAX_BLOCKS
from ..protocol.events import Answer, Reading
from ..protocol.plan import Cell, Plan, Round, Thermal, Unit
from ..protocol.record import DeviceReference, RecordKind, RoundStatus
from .process import Limits, ProcessStation, opened
from .station import Flight, Watch

if TYPE_CHECKING:
    from care_mobile.probes import TensorFile


class ScriptStation(ProcessStation):
    """A process station that knows how a harness says that its device is gone."""

    script = Script()
    _last = 0

    def launch(self, planned: Round, launch: str, watch: Watch) -> Flight:
        self._last = planned.number
        flight = super().launch(planned, launch, watch)
        if flight.exit_code != faults.DISCONNECTED:
            return flight
        said = "the device is gone, as its script says"
        return replace(flight, status=RoundStatus.LOST, code="disconnected", detail=said)

    def look(self) -> tuple[Reading, ...]:
        """How hot the script leaves the device after the last round."""
        hot = [h for h in self.script.world if isinstance(h, Throttle)]
        states = [h.thermal for h in hot if h.lasts(self._last, MAX_BLOCKS)]
        state = states[-1] if states else Thermal.NOMINAL
        return (Reading(at_ns=0, kind="thermal", state=state.value),)

    def rest(self, time_ns: int) -> None:
        """A script takes no time."""


class ScriptDevice:
    """See the module's docstring. The script is read once, when the device is made.

    Raises:
        UsageError: if the file is no script.
    """

    name = "scripted"
    kind = RecordKind.SCRIPTED
    reads = frozenset({"threads", "affinity", "unit"})

    def __init__(self, file: Path, limits: Limits | None = None) -> None:
        self._script = read_script(file)
        self._limits = limits
        self.reference = DeviceReference(kind=self.name, serial=file.name[:MAX_NAME])

    def availability(self) -> Availability:
        return Availability(True, "plays latencies from a script")

    def supports(self, bundle: Bundle) -> Availability:
        return Availability(True, "any bundle")

    def engine(self, bundle: Bundle) -> str:
        return "script"

    def unit(self, bundle: Bundle) -> Unit:
        return Unit.CPU

    def check(self, plan: Plan) -> tuple[str, ...]:
        names = {name for cell in plan.cells for name in (cell.id, cell.label, cell.bundle.name)}
        unknown = sorted(self._named() - names - {"*"})
        return tuple(f"the script is about {name!r}, which is no cell" for name in unknown)

    @contextmanager
    def open(self, plan: Plan, files: Mapping[str, Path]) -> Iterator[ScriptStation]:
        with tempfile.TemporaryDirectory(prefix="script-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            script, answers = folder / "script.json", folder / "answers.json"
            try:
                script.write_text(self._script.model_dump_json(), encoding="utf-8")
                answers.write_text(_answers(plan, files).model_dump_json(), encoding="utf-8")
            except OSError as error:
                raise OutputError(
                    f"cannot write temporary files: {error.strerror or error}", "free some space"
                ) from error
            command = [*module_command(scripted.__name__), "--script", str(script)]
            command += ["--answers", str(answers)]
            with opened(ScriptStation, command, plan, files, self._limits) as station:
                station.script = self._script
                yield station

    def _named(self) -> set[str]:
        named = set(self._script.latencies_ns)
        return named | {str(getattr(h, "cell", "*")) for h in self._script.world}


def _answers(plan: Plan, files: Mapping[str, Path]) -> scripted.Answers:
    """The reference's answers, as far as the bundles have them: a script that says nothing of
    wrong answers gives right ones."""
    found: dict[str, dict[str, tuple[Answer, ...]]] = {}
    for cell in plan.cells:
        bundle = _bundle(cell, files)
        if bundle is not None:
            found[cell.id] = {
                probe.name: tuple(_answer(bundle, t, plan.answer_elements) for t in probe.outputs)
                for probe in bundle.manifest.probes
            }
    return scripted.Answers(answers=found)


def _bundle(cell: Cell, files: Mapping[str, Path]) -> Bundle | None:
    """Where a cell's files come from, if that is a bundle."""
    if cell.folder is None:
        return None
    inside = PurePosixPath(cell.folder)
    for path, source in files.items():
        if inside not in PurePosixPath(path).parents:
            continue
        depth = len(PurePosixPath(path).relative_to(inside).parts)
        folder = source.parents[depth - 1]
        if (folder / MANIFEST).is_file():
            return Bundle.open(folder)
    return None


def _answer(bundle: Bundle, tensor: TensorFile, limit: int) -> Answer:
    import numpy as np

    from care_mobile.answers import read_tensor, tensor_bytes

    total = math.prod(tensor.shape)
    stride = answer_stride(total, limit)
    stored = read_tensor(bundle, tensor).reshape(-1)
    places = np.arange(0, total, stride)
    values = np.zeros(len(places), stored.dtype)  # nobody compares what is not stored
    there = places % tensor.stride == 0
    values[there] = stored[places[there] // tensor.stride]
    return Answer(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tuple(tensor.shape),
        stride=stride,
        data=base64.b64encode(tensor_bytes(values)).decode(),
    )
