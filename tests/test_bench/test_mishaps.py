"""Whole sessions in which a device or a harness fails: what landed is kept, the rest is typed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_programs
import numpy as np
import pytest
from conftest import WriteBundle
from manifests import manifest_of, put_probe

from care_mobile.bench.protocol.events import Reality
from care_mobile.bench.protocol.reading import read_session
from care_mobile.bench.protocol.record import RecordKind, RoundStatus, Session
from care_mobile.bench.request import (
    MeasurementError,
    SessionOutcome,
    SessionRequest,
    resume_session,
    run_session,
)
from care_mobile.bundle import TensorSpec, write_manifest, writing
from care_mobile.errors import UsageError
from care_mobile.quiet import quiet

from .conftest import onnx_model

Play = Callable[..., SessionOutcome]


def statuses(session: Session) -> list[tuple[RoundStatus, str | None]]:
    return [(found.status, found.code) for found in session.rounds]


@pytest.fixture
def asked(tmp_path: Path, write_bundle: WriteBundle) -> SessionRequest:
    bundle = write_bundle("one", onnx_model(8, 1), probed=True)
    return SessionRequest(
        bundles=(bundle,),
        records=tmp_path / "records",
        preset="quick",
        rounds=4,
        blocks=2,
        iterations=2,
        device=f"scripted={tmp_path / 'script.json'}",
    )


@pytest.fixture
def play(tmp_path: Path, asked: SessionRequest) -> Play:
    """A session as a script says it goes; with `resume`, an earlier one is gone on with."""

    def run(resume: Path | None = None, **script: Any) -> SessionOutcome:
        (tmp_path / "script.json").write_text(json.dumps(script))
        if resume is not None:
            known = replace(asked, given=frozenset({"device"}))
            return resume_session(resume, known, lambda line: None, waiting)
        return run_session(asked, lambda line: None, waiting)

    return run


def waiting(holder: str) -> None:
    raise AssertionError(holder)


def test_a_crash_costs_one_round(play: Play) -> None:
    outcome = play(faults=[{"kind": "crash", "round": 1, "block": 1}])
    session = read_session(outcome.file)
    assert session.opened.kind is RecordKind.SCRIPTED
    assert statuses(session) == [
        (RoundStatus.COMPLETED, None),
        (RoundStatus.CRASHED, "sigabrt"),
        (RoundStatus.COMPLETED, None),
        (RoundStatus.COMPLETED, None),
    ]
    assert len(session.rounds[1].blocks) == 1  # what it wrote is kept, and is no evidence
    assert session.missing() == (1,)


def test_a_device_that_is_lost_ends_the_session_and_resume_goes_on(play: Play) -> None:
    lost = play(faults=[{"kind": "disconnect", "round": 2}])
    session = read_session(lost.file)
    assert statuses(session)[2] == (RoundStatus.LOST, "disconnected")
    assert session.missing() == (2, 3)
    assert session.closed is not None
    assert "lost in round 2" in session.closed.reason
    found = play(resume=lost.file).session
    assert found.missing() == ()
    assert [e.status for e in found.earlier] == [RoundStatus.LOST]
    assert len(found.resumed) == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("disconnect", "disconnected"),
        ("storage-full", "exit-74"),
        ("stale", "stale"),
        ("garbled", "garbled"),
        ("nan", "garbled"),
    ],
)
def test_mishaps_are_typed_in_the_record(play: Play, kind: str, code: str) -> None:
    block = None if kind == "stale" else 1
    outcome = play(faults=[{"kind": kind, "round": 3, "block": block}])
    session = read_session(outcome.file)
    assert session.missing() == (3,)
    assert session.rounds[3].code == code


def test_answers_that_turn_wrong_make_the_cell_invalid(play: Play) -> None:
    outcome = play(world=[{"kind": "wrong-answers", "round": 2}])
    assert [j.passed for r in outcome.session.rounds for j in r.cells[0].judged] == (
        [True] * 4 + [False] * 4
    )
    with pytest.raises(MeasurementError, match="not valid: one"):
        outcome.check()


def test_a_hot_device_is_waited_for_without_waiting(play: Play) -> None:
    outcome = play(world=[{"kind": "throttle", "round": 1, "last_round": 1}])
    assert [w.round for w in outcome.session.waited] == [2]
    assert "severe" in outcome.session.waited[0].reason


HOSTILE = """
import os, sys, runpy
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if given["--round"] == "1":
    {body}
    sys.exit(0)
runpy.run_module("care_mobile.bench.harness", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("os.mkfifo(given['--output'])", "unreadable"),
        ("os.symlink('/dev/zero', given['--output'])", "unreadable"),
        ("open(given['--output'], 'wb').truncate(2**31)", "too-large"),
        ("open(given['--output'], 'w').write('[' * 10**6 + chr(10))", "garbled"),
        ("os.write(1, os.urandom(10**6))", "no-file"),
    ],
    ids=["a pipe", "endless", "huge", "nested", "noise"],
)
def test_a_hostile_round_costs_itself_alone(
    tmp_path: Path, asked: SessionRequest, body: str, code: str
) -> None:
    program = tmp_path / "harness.py"
    program.write_text(HOSTILE.format(body=body))
    command = shlex.join([sys.executable, str(program)])
    request = replace(asked, device=f"process={command}", rounds=3)
    session = run_session(request, lambda line: None, waiting).session
    assert [status for status, _ in statuses(session)] == [
        RoundStatus.COMPLETED,
        RoundStatus.INVALID,
        RoundStatus.COMPLETED,
    ]
    assert session.rounds[1].code == code


def test_a_session_on_the_interpreter_has_answers_and_no_latency(tmp_path: Path) -> None:
    image = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 24)
    path = tmp_path / "bundles" / "relu"
    with writing(path) as partial, quiet():
        ml_programs.write_package(
            partial / "model.mlpackage",
            lambda x: ml_programs.mb.relu(x=x, name="logits"),
            {"x": image},
        )
        outputs = {"logits": np.maximum(image, 0)}
        probe = put_probe(partial, inputs={"x": image}, outputs=outputs)
        manifest = manifest_of(
            partial,
            target="coreml",
            runtime="coreml",
            model_file="model.mlpackage",
            inputs=(TensorSpec(name="x", shape=image.shape),),
            outputs=(TensorSpec(name="logits", shape=image.shape),),
            probes=(probe,),
        )
        write_manifest(partial, manifest)
    request = SessionRequest(bundles=(path,), records=tmp_path / "records", device="interpreter")
    outcome = run_session(request, lambda line: None, waiting)
    outcome.check()
    (found,) = outcome.session.rounds
    assert outcome.session.opened.kind is RecordKind.FUNCTIONAL
    assert found.hello is not None
    assert found.hello.machine.reality is Reality.INTERPRETER
    assert [j.passed for j in found.cells[0].judged] == [True, True]
    assert (found.blocks, found.cells[0].warm) == ((), None)


@pytest.mark.parametrize("option", ["preset", "rounds", "blocks", "iterations", "single"])
def test_what_times_nothing_takes_no_option_of_latencies(
    asked: SessionRequest, option: str
) -> None:
    request = replace(asked, device="interpreter", given=frozenset({option}))
    with pytest.raises(UsageError, match=f"--{option} does nothing on the device interpreter"):
        run_session(request, lambda line: None, waiting)
