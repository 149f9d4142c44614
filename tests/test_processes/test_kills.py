"""Real exports and evaluations, ended at any moment: nothing runs on, nothing is left, nothing is
half. The moments are a step of the work and a random while after it."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from care_mobile.bundle import Bundle
from care_mobile.processes.scratch import PREFIX

from .kills import Killed

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def export(folder: Path, target: str) -> Killed:
    arguments = ("--model", "networks:Classifier", "--weights", "as-built", "--resolution", "32")
    return Killed(
        ("care-export", *arguments, "-t", target, "-o", str(folder / "out")), folder, folder / "tmp"
    )


STEPS = {
    "started": f"tmp/{PREFIX}*/*",
    "captured": f"tmp/{PREFIX}*/*/*.pt2",
    "lowering": "out/.partial-*-new-*",
    "written": "out/.partial-*-new-*/model.*",
}
"""Of an export, seen from outside: what is there by then."""


def kill_export(folder: Path, target: str, number: signal.Signals, moment: str, late: float) -> int:
    command = export(folder, target)
    before = set(folder.glob(STEPS[moment]))
    code, said = command.end_at(
        number, lambda: bool(set(folder.glob(STEPS[moment])) - before), late
    )
    assert command.outlived() == [], said
    assert "Traceback" not in said
    if code != -signal.SIGKILL:
        assert code in (0, 128 + number, -number), said  # -number: before or after its work
        assert command.scratch() == []
        assert not list((folder / "out").glob(".partial-*"))
    for bundle in (folder / "out").glob("[!.]*"):
        Bundle.open(bundle)  # whole
    return code


def next_start_sweeps(folder: Path, target: str) -> None:
    assert kill_export(folder, target, signal.SIGTERM, "lowering", 0.0) == 143


@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, "written"), (signal.SIGHUP, "captured"), (signal.SIGKILL, "lowering")],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_export_that_is_ended_leaves_nothing(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    code = kill_export(tmp_path, "onnx", number, moment, 0.0)
    assert code in (-9, 128 + number)  # it was ended, not done
    if number == signal.SIGKILL:
        next_start_sweeps(tmp_path, "onnx")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "coreml", "executorch"])
@pytest.mark.parametrize("seed", range(8))
def test_exports_ended_at_random(tmp_path: Path, target: str, seed: int) -> None:
    draw = random.Random(seed)
    for number in SIGNALS:
        moment = draw.choice(sorted(STEPS))
        kill_export(tmp_path, target, number, moment, draw.uniform(0, 2))
    next_start_sweeps(tmp_path, target)
    code, said = export(tmp_path, target).finish()
    assert code == 0, said
    (bundle,) = (tmp_path / "out").iterdir()
    assert Bundle.open(bundle).manifest.parity.status == "verified"


# Evaluations.


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noisy greys, of which some are taken for the neighbouring class."""
    rng = np.random.default_rng(0)
    for label in range(8):
        folder = tmp_path / "data" / f"class{label}"
        folder.mkdir(parents=True)
        for index in range(60):
            grey = np.clip(20 + 30 * label + rng.normal(0, 15), 0, 255)
            Image.new("L", (8, 8), int(grey)).convert("RGB").save(folder / f"{index}.png")
    return tmp_path / "data"


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_an_evaluation_that_was_killed_goes_on_to_the_same_result(
    tmp_path: Path, data: Path, classifier: Callable[..., Path], seed: int
) -> None:
    draw = random.Random(seed)
    bundle = str(classifier("grey"))
    results = []
    for name, kills in (("fresh", 0), ("killed", 3)):
        output = tmp_path / name / "evaluation.json"
        journal = output.with_name("evaluation.json.partial")
        command = Killed(
            ("care-eval", bundle, "--data", str(data), "--output", str(output)),
            tmp_path,
            tmp_path / "tmp",
        )
        answered = 0
        for kill in range(kills):
            answered += draw.randrange(40, 120)

            def reached(journal: Path = journal, least: int = answered) -> bool:
                return journal.exists() and journal.read_bytes().count(b"\n") > least

            code, said = command.end_at(SIGNALS[-1 - kill % 2], reached, 0.0)
            assert code in (-9, 129), said
            assert command.outlived() == []
        code, said = command.finish()
        assert code == 0, said
        assert command.scratch() == []
        assert [path.name for path in output.parent.iterdir()] == ["evaluation.json"]
        results.append(json.loads(output.read_text()) | {"created": ""})
    fresh, resumed = results
    assert fresh == resumed
