"""One launch: the plan read, the file begun, the round run with this machine's own tools."""

from __future__ import annotations

import json
import platform
import time
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from care_mobile.errors import UsageError
from care_mobile.files import read_small
from care_mobile.frozen import first_problem
from care_mobile.requirements import version

from ..protocol.arithmetic import control
from ..protocol.base import MAJOR, MINOR, Contract, Id, date_of
from ..protocol.events import Clock, Failed, HarnessInfo, Hello, Reading, Reality
from ..protocol.plan import Plan, Round
from .loading import Loader
from .loop import run_round
from .machine import describe_machine
from .sensors import Sensors, resident_bytes, still
from .tools import Tools
from .writer import RoundWriter

NAME = "care-mobile"
MAX_PLAN_BYTES = 64 * 2**20


def measure(
    plan_file: Path,
    number: int,
    launch: str,
    output: Path,
    origin_ns: int,
    reality: str | None = None,
) -> None:
    """Measure a round of the plan in `plan_file` into the new file `output`.

    Args:
        origin_ns: `time.perf_counter_ns` when this process started.
        reality: what the machine is, where it cannot know that itself.

    Raises:
        UsageError: if that cannot be served; then there is no new file.
        OutputError: if the file cannot be written.
    """
    try:
        plan = read_plan(plan_file)
        planned = round_of(plan, number)
    except NewerPlanError as newer:
        writer = RoundWriter(output, lambda: time.perf_counter_ns() - origin_ns)
        _greet(writer, newer.session, number, launch, reality)
        writer.emit(Failed, code="not-supported", detail=str(newer))
        writer.end()
        return
    writer = RoundWriter(output, lambda: time.perf_counter_ns() - origin_ns)
    sensors = Sensors()
    readings = (*still(0), *sensors.look(time.perf_counter_ns() - origin_ns))
    _greet(writer, plan.session, number, launch, reality, readings)
    loader = Loader(plan, plan_file.parent, time.perf_counter_ns, resident_bytes)
    tools = Tools(
        origin_ns=origin_ns,
        now_ns=time.perf_counter_ns,
        sleep_ns=lambda ns: time.sleep(ns / 1e9),
        cpu_ns=time.process_time_ns,
        control=control,
        look=sensors.look,
        load=loader.load,
        emit=writer.emit,
    )
    run_round(plan, planned, tools)
    writer.end()


def _greet(
    writer: RoundWriter,
    session: str,
    number: int,
    launch: str,
    reality: str | None,
    readings: tuple[Reading, ...] = (),
) -> None:
    """The first line."""
    machine = describe_machine()
    if reality is not None:
        machine = machine.model_copy(update={"reality": Reality(reality)})
    resolution_ns = max(round(time.get_clock_info("perf_counter").resolution * 1e9), 1)
    writer.emit(
        Hello,
        minor=MINOR,
        session=session,
        round=number,
        launch=launch,
        started=date_of(datetime.now(timezone.utc)),
        harness=HarnessInfo(
            name=NAME,
            version=version("care-mobile") or "unknown",
            language=f"Python {platform.python_version()}",
        ),
        clock=Clock(name="time.perf_counter_ns", resolution_ns=resolution_ns),
        machine=machine,
        readings=readings,
    )


class NewerPlanError(Exception):
    """A plan of a later minor version asks for something that is not known here."""

    def __init__(self, session: str, problem: str) -> None:
        super().__init__(f"{problem}; update care-mobile where the harness runs")
        self.session = session


class _Minor(Contract):
    """What is read of such a plan, to answer it."""

    minor: int
    session: Id


def read_plan(file: Path) -> Plan:
    """The plan in a file.

    Raises:
        UsageError: if there is none, or it is of another protocol.
        NewerPlanError: if a later version of this protocol asks for what is not known here.
    """
    again = "name a plan that care-bench wrote"
    content = b""
    try:
        content = read_small(file, MAX_PLAN_BYTES)
        _check_protocol(json.loads(content))
        return Plan.model_validate_json(content)
    except ValidationError as error:
        newer = _newer(content)
        if newer is not None and error.errors()[0]["type"] in _UNKNOWN_WORD:
            raise NewerPlanError(newer.session, first_problem(error)) from error
        raise UsageError(f"{file}: {first_problem(error)}", again) from error
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", again) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no JSON: {error}", again) from error


_UNKNOWN_WORD = ("enum", "literal_error")


def _newer(content: bytes) -> _Minor | None:
    try:
        found = _Minor.model_validate_json(content)
    except ValidationError:
        return None
    return found if found.minor > MINOR else None


def _check_protocol(content: object) -> None:
    said = content.get("protocol") if isinstance(content, dict) else None
    if isinstance(said, int) and said != MAJOR:
        raise UsageError(
            f"the plan is of protocol {said}; this harness keeps protocol {MAJOR}",
            "use the harness of the version that made the plan",
        )


def round_of(plan: Plan, number: int) -> Round:
    """Raises UsageError: if the plan has no such round."""
    if not 0 <= number < len(plan.rounds):
        raise UsageError(
            f"there is no round {number}", f"the plan has rounds 0 to {len(plan.rounds) - 1}"
        )
    return plan.rounds[number]
