"""A harness that keeps the protocol and plays a script instead of running networks.

`python -m care_mobile.bench.harness.scripted --script FILE --plan FILE --round N --launch ID
--output FILE`. The measuring loop is the reference harness's own, on a clock that the script moves,
so a session takes no time; that clock is ahead of every other, which is the one rule it breaks. Its
machine says that it is a script, and its device keeps records of kind `scripted`: nothing of them
can be taken for measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from care_mobile.errors import CareError, UsageError
from care_mobile.files import read_small
from care_mobile.frozen import first_problem
from care_mobile.requirements import version

from ..protocol.base import Contract, Id, Name, date_of
from ..protocol.events import Answer, Event, HarnessInfo, Hello, Machine, Reality
from ..protocol.events import Clock as ClockInfo
from ..protocol.plan import Cell, Plan, Probe, Round
from .faults import Faults
from .loop import run_round
from .player import Clock, Player, Stage
from .script import Script, read_script
from .tools import Tools
from .writer import RoundWriter

_MAX_PLAN_BYTES = 2**26
_MAX_ANSWERS_BYTES = 2**30


class Answers(Contract):
    """Right answers by cell and probe: what a device knows of the bundles."""

    answers: dict[Id, dict[Name, tuple[Answer, ...]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a round; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="care_mobile.bench.harness.scripted", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--answers", type=Path, help="right answers, as JSON")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--launch", required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        _check_id(given.launch)
        script = read_script(given.script)
        plan = _read(Plan, given.plan, _MAX_PLAN_BYTES)
        if not 0 <= given.round < len(plan.rounds):
            raise UsageError(f"the plan has no round {given.round}")
        answers = _read(Answers, given.answers, _MAX_ANSWERS_BYTES) if given.answers else None
        known = Known(answers.answers if answers else {}, given.plan.parent, plan.answer_elements)
        play(script, plan, plan.rounds[given.round], given.launch, given.output, known)
    except CareError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _check_id(text: str) -> None:
    try:
        TypeAdapter(Id).validate_python(text)
    except ValidationError as error:
        raise UsageError(f"--launch takes an id: {first_problem(error)}") from error


def play(
    script: Script,
    plan: Plan,
    planned: Round,
    launch: str,
    output: Path,
    known: Known,
) -> None:
    """Play one round into a file; what a script does to the harness, it does to this process.

    Raises:
        CareError: if the file cannot be written.
    """
    faults = Faults([f for f in script.faults if f.round == planned.number], output)
    faults.starts()
    clock = Clock()
    stage = Stage(planned, plan.gate.retries, faults.begins)
    player = Player(script, clock, stage, faults.loads, known.of)
    writer = RoundWriter(output, clock.now_ns)

    def emit(kind: type[Event], /, **fields: Any) -> None:
        writer.emit(kind, **fields)
        stage.follow(kind, fields)

    tools = Tools(
        origin_ns=0,
        now_ns=clock.now_ns,
        sleep_ns=clock.sleep_ns,
        cpu_ns=clock.cpu_ns,
        control=player.control,
        look=player.look,
        load=player.load,
        emit=emit,
    )
    emit(Hello, **_hello(script, plan, planned, faults.launch or launch), readings=player.look(0))
    run_round(plan, planned, tools)
    writer.end()
    faults.ends()


def _hello(script: Script, plan: Plan, planned: Round, launch: str) -> dict[str, Any]:
    tool = version("care-mobile") or "unknown"
    machine = Machine(
        model=script.model,
        reality=Reality.SCRIPT,
        os="none",
        os_build="none",
        architecture="none",
        soc="none",
        cores=1,
    )
    return {
        "session": plan.session,
        "round": planned.number,
        "launch": launch,
        "started": date_of(datetime.now(timezone.utc)),
        "harness": HarnessInfo(name="care-mobile-script", version=tool, language="python"),
        "clock": ClockInfo(name="script", resolution_ns=1),
        "machine": machine,
    }


class Known:
    """Right answers: those that were given, and a probe's own inputs for the engine `noop`."""

    def __init__(
        self, answers: Mapping[str, Mapping[str, Sequence[Answer]]], folder: Path, limit: int
    ) -> None:
        self._answers = answers
        self._folder = folder
        self._limit = limit

    def of(self, cell: Cell, probe: Probe) -> Sequence[Answer]:
        if cell.engine == "noop":
            from .probing import answers_of, read_inputs  # numpy takes a while

            return answers_of(read_inputs(probe, self._folder).items(), self._limit)
        return self._answers.get(cell.id, {}).get(probe.name, ())


def _read(kind: Any, file: Path, most_bytes: int) -> Any:
    try:
        return kind.model_validate_json(read_small(file, most_bytes))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        raise UsageError(f"{file}: {first_problem(error)}") from error


if __name__ == "__main__":
    sys.exit(main())
