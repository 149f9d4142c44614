"""A/A sessions: measured one after the other, kept as records, and gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import NamedTuple

from care_mobile.bench.harness.machine import describe_machine
from care_mobile.bench.planning import facts_of
from care_mobile.bench.presets import Settings, get_preset
from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import Machine
from care_mobile.bench.protocol.plan import Plan
from care_mobile.bench.protocol.reading import RecordError, read_session
from care_mobile.bench.protocol.record import Launched, Session
from care_mobile.bench.request import SessionRequest, run_session
from care_mobile.bundle import Bundle, check_output_folder
from care_mobile.errors import RuntimeFailure, TargetError, UsageError
from care_mobile.frozen import Frozen
from care_mobile.requirements import tool_versions, version

from .control_gates import gate_figures
from .control_results import (
    SESSIONS,
    Control,
    ControlSession,
    goals,
    group,
    session_figures,
)
from .measuring import OnStep, the_cpu, why_lost
from .revision import revision
from .shares import share

MODEL = "care_s0"
TARGET = "onnx"


class ControlRequest(Frozen):
    """All that `run_control` needs to know. `command` is what the document says was run; without
    `bundle` it is `MODEL` for `TARGET` in fp32, exported with weights random:0."""

    bundle: Path | None = None
    sessions: int = SESSIONS
    preset: str = "default"
    gated: bool = True
    output: Path
    command: str


class _Subject(NamedTuple):
    """What every session measures, and where."""

    bundle: Bundle
    settings: Settings
    machine: Machine
    tools: dict[str, str]


def run_control(request: ControlRequest, on_step: OnStep) -> Control:
    """Measure the sessions that are not in `output`/records yet, and sum all of them up.

    Raises:
        UsageError: if the request names what does not exist.
        CareError: if the bundle cannot be made or measured.
        KeyboardInterrupt: finished sessions are kept.
    """
    settings = get_preset(request.preset)
    if not settings.blocks:
        raise UsageError(f"the preset {request.preset} has no blocks to compare", "choose another")
    if not request.gated:
        gate = settings.gate.model_copy(update={"control_drift_permille": None})
        settings = Settings(**{**vars(settings), "gate": gate})
    check_output_folder(request.output)
    path = request.bundle or _exported(request.output / "bundles", on_step)
    subject = _Subject(Bundle.open(path), settings, describe_machine(), tool_versions())
    records = request.output / "records"
    on_step("reading what was measured before", 0.0)
    found = {each.seed: each for each in kept(records, subject)}
    for seed in range(request.sessions):
        if seed not in found:
            done = sum(known < request.sessions for known in found)
            found[seed] = _measure(request, path, seed, done, on_step)
    return _sum_up(request, subject, [found[seed] for seed in range(request.sessions)])


def _exported(folder: Path, on_step: OnStep) -> Path:
    """The default bundle, made when it is not there."""
    path = folder / f"{MODEL}-{TARGET}-fp32"
    if path.is_dir():
        return path
    from care_mobile.export.pipeline import export_bundles
    from care_mobile.export.request import ExportRequest

    on_step(f"exporting {path.name}", 0.0)
    asked = ExportRequest(
        models=(MODEL,),
        targets=(TARGET,),
        weights="random:0",
        precisions=("fp32",),
        output=folder,
    )
    (made,) = export_bundles(asked).bundles
    if made.path is None:
        assert made.failure is not None
        raise TargetError(made.failure.message, made.failure.hint)
    return made.path


def kept(records: Path, subject: _Subject) -> Iterator[ControlSession]:
    """Finished sessions of the same bundle, settings, machine and tools; others are let lie."""
    for file in sorted(records.glob("*.jsonl")):
        try:
            session = read_session(file)
        except RecordError:  # cut off in its first line
            continue
        if _is_finished(session) and _is_of(session, subject):
            yield session_figures(session, file.stat().st_size)


def _is_finished(session: Session) -> bool:
    return session.closed is not None and not session.closed.reason


def _is_of(session: Session, subject: _Subject) -> bool:
    plan, settings = session.plan, subject.settings
    hello = session.completed[0].hello if session.completed else None
    return (
        plan.preset == settings.preset
        and (plan.burst, plan.warmup, plan.gate) == (settings.burst, settings.warmup, settings.gate)
        and _shape(plan) == (settings.rounds, settings.blocks)
        and [(cell.bundle, cell.cores) for cell in plan.cells]
        == [(facts_of(subject.bundle), (the_cpu(),))] * 2
        and session.opened.tools == subject.tools
        and hello is not None
        and hello.machine == subject.machine
    )


def _shape(plan: Plan) -> tuple[int, int]:
    return len(plan.rounds), len(plan.rounds[0].blocks)


def _measure(
    request: ControlRequest, bundle: Path, seed: int, done: int, on_step: OnStep
) -> ControlSession:
    """One session of the bundle and itself: the device gets two copies."""

    def on(event: Contract) -> None:
        if isinstance(event, Launched):
            share_of = (done + event.round / rounds) / request.sessions
            on_step(f"session {done + 1} of {request.sessions}, round {event.round + 1}", share_of)

    rounds = get_preset(request.preset).rounds
    outcome = run_session(
        SessionRequest(
            bundles=(bundle, bundle),
            records=request.output / "records",
            preset=request.preset,
            gated=request.gated,
            affinity=(the_cpu(),),
            seed=seed,
            wait_seconds=3600.0,
        ),
        on,
        lambda holder: on_step(f"waiting for {holder}", done / request.sessions),
    )
    if outcome.interrupted:
        outcome.file.unlink()  # it is measured anew: a session that was cut in two is another one
        raise KeyboardInterrupt
    session = outcome.session
    if not _is_finished(session):
        raise RuntimeFailure(f"session {done + 1}: {why_lost(session, 0)}", f"see {outcome.file}")
    return session_figures(session, outcome.file.stat().st_size)


def _sum_up(request: ControlRequest, subject: _Subject, sessions: list[ControlSession]) -> Control:
    every, quiet = group(sessions), [each for each in sessions if not each.busy]
    rejected = sum(each.rejected for each in sessions)
    quiet_seconds = median([each.seconds for each in quiet]) if quiet else None
    record_bytes = max((each.record_bytes for each in sessions), default=None)
    loads = [each.load for each in sessions if each.load is not None]
    settings = subject.settings
    return Control(
        command=request.command,
        revision=revision(),
        created=datetime.now(timezone.utc).replace(microsecond=0),
        machine=subject.machine,
        tools=subject.tools | {"care-mobile": version("care-mobile") or "unknown"},
        cpu=the_cpu(),
        bundle=facts_of(subject.bundle),
        preset=request.preset,
        rounds=settings.rounds,
        blocks=settings.blocks,
        burst_ms=settings.burst.target_ns / 1e6,
        gated=request.gated,
        planned=request.sessions,
        every=every,
        quiet=group(quiet),
        rejected=share(rejected, rejected + sum(each.blocks for each in sessions)),
        gates=gate_figures(each.gates for each in sessions),
        seconds=median([each.seconds for each in sessions]) if sessions else None,
        quiet_seconds=quiet_seconds,
        record_bytes=record_bytes,
        load=median(loads) if loads else None,
        goals=goals(every, quiet_seconds, record_bytes),
        sessions=tuple(sessions),
    )
