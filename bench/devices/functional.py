"""Devices that tell whether answers are right, and never how fast they come.

`interpreter` runs Core ML bundles on care-mobile's interpreter of ML Programs, on any machine;
`qemu-aarch64=ROOT` (`qemu.py`) runs ONNX bundles on Arm code. Their records are `functional`, and
their plans have rounds without phases: there is nothing to time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from care_mobile.bundle import Bundle
from care_mobile.processes.peer import module_command
from care_mobile.requirements import Availability

from ..presets import Settings
from ..protocol.events import Reality
from ..protocol.plan import Plan, Unit
from ..protocol.record import DeviceReference, RecordKind
from .process import HARNESS, ProcessStation, opened

SETTINGS = Settings("functional", "answers alone, on what tells no latency", rounds=1, blocks=0)
"""Of every plan for such a device: one round, loads and checks."""


class AnswersOnly:
    """What devices that time nothing have in common."""

    kind = RecordKind.FUNCTIONAL

    def unit(self, bundle: Bundle) -> Unit:
        return Unit.CPU

    def check(self, plan: Plan) -> tuple[str, ...]:
        if any(planned.phases for planned in plan.rounds):
            return ("it measures no latency: its rounds have no phases",)
        return ()


class InterpreterDevice(AnswersOnly):
    """See the module's docstring."""

    name = "interpreter"
    reference = DeviceReference(kind="interpreter")
    reads: frozenset[str] = frozenset()

    def availability(self) -> Availability:
        return Availability(True, "runs Core ML bundles in numpy: answers, counts and a forecast")

    def supports(self, bundle: Bundle) -> Availability:
        if bundle.manifest.runtime == "coreml":
            return Availability(True, "answers in the program's declared types")
        detail = f"the interpreter runs Core ML bundles; this one is for {bundle.manifest.runtime}"
        return Availability(False, detail, "measure it on --device desktop")

    def engine(self, bundle: Bundle) -> str:
        return "coreml-interpreter"

    @contextmanager
    def open(self, plan: Plan, files: Mapping[str, Path]) -> Iterator[ProcessStation]:
        command = [*module_command(HARNESS), "--reality", Reality.INTERPRETER.value]
        with opened(ProcessStation, command, plan, files) as station:
            yield station
