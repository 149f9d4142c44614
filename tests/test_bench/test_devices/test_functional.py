"""Core ML bundles on the interpreter: answers, counts and a forecast, and nothing that is timed."""

from __future__ import annotations

from pathlib import Path

import ml_programs
import numpy as np
from manifests import manifest_of, put_probe

from care_mobile.bench.devices.functional import InterpreterDevice
from care_mobile.bench.protocol.events import Reality
from care_mobile.bench.protocol.record import RecordKind
from care_mobile.bundle import (
    Bundle,
    Census,
    ForecastSummary,
    Outlook,
    TensorSpec,
    write_manifest,
    writing,
)

from ..test_harness.scripts import make_plan
from .functional import ask

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 24)
FORECAST = ForecastSummary(
    operations=dict.fromkeys(Outlook, 0) | {Outlook.EXPECTED: 1},
    macs_share={Outlook.EXPECTED: 1.0},
    wasted_bytes=0,
    findings={},
)


def bundle(folder: Path, reference: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Path:
    """A Relu as an ML Program whose manifest says that the network answers `reference` to X."""
    path = folder / "relu"
    with writing(path) as partial:
        ml_programs.write_package(
            partial / "model.mlpackage",
            lambda x: ml_programs.mb.relu(x=x, name="logits"),
            {"x": X},
        )
        probe = put_probe(partial, inputs={"x": X}, outputs={"logits": reference})
        manifest = manifest_of(
            partial,
            target="coreml",
            runtime="coreml",
            model_file="model.mlpackage",
            inputs=(TensorSpec(name="x", shape=X.shape),),
            outputs=(TensorSpec(name="logits", shape=X.shape),),
            census=Census(total=1, by_type={"relu": 1}),
            forecast=FORECAST,
            probes=(probe,),
        )
        write_manifest(partial, manifest)
    return path


def test_answers_are_judged_and_counts_and_forecast_told(tmp_path: Path) -> None:
    found = ask(InterpreterDevice(), bundle(tmp_path, np.maximum(X, 0)), tmp_path)
    assert found.hello.machine.reality is Reality.INTERPRETER
    assert [(j.passed, j.moment) for j in found.judged] == [(True, "before"), (True, "after")]
    assert found.notes["operations"] == "1 in the file: 1 relu"
    assert "1 expected" in found.notes["forecast"]
    assert "not measured" in found.notes["forecast"]


def test_wrong_answers_are_found(tmp_path: Path) -> None:
    found = ask(InterpreterDevice(), bundle(tmp_path, np.maximum(X, 0.5)), tmp_path)
    assert [j.passed for j in found.judged] == [False, False]


def test_its_records_are_functional_and_its_plans_time_nothing() -> None:
    device = InterpreterDevice()
    assert device.kind is RecordKind.FUNCTIONAL
    assert device.check(make_plan(blocks=0)) == ()
    assert device.check(make_plan(blocks=1)) == (
        "it measures no latency: its rounds have no phases",
    )


def test_it_runs_core_ml_bundles_only(tmp_path: Path) -> None:
    found = Bundle.open(bundle(tmp_path, X))
    other = Bundle(found.path, found.manifest.model_copy(update={"runtime": "onnxruntime"}))
    assert InterpreterDevice().supports(found).usable
    refused = InterpreterDevice().supports(other)
    assert not refused.usable
    assert "onnxruntime" in refused.detail
    assert refused.remedy
