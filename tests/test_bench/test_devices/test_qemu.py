"""Answers of Arm code, where an emulator and an Arm Python are there; else what is said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from manifests import manifest_of, put_probe

from care_mobile.bench.devices.qemu import QemuDevice
from care_mobile.bench.protocol.events import Reality
from care_mobile.bench.protocol.record import RecordKind
from care_mobile.bundle import Bundle, write_manifest, writing
from care_mobile.errors import UsageError

from ..conftest import onnx_model
from .functional import ask

ROOT = os.environ.get("CARE_ARM64_ROOT") or str(Path(__file__).parents[3] / "build" / "arm64")
needs_root = pytest.mark.skipif(
    not QemuDevice(ROOT).availability().usable,
    reason="no root of Arm programs: `make arm64`, or name one in CARE_ARM64_ROOT",
)


def bundle(folder: Path, least: float = 0.0) -> Path:
    """A Relu; its manifest says that the network answers no less than `least`."""
    path = folder / "relu"
    with writing(path) as partial:
        (partial / "model.onnx").write_bytes(onnx_model(8, 1))
        image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
        outputs = {"logits": np.maximum(image, np.float32(least))}
        probe = put_probe(partial, inputs={"image": image}, outputs=outputs)
        write_manifest(partial, manifest_of(partial, probes=(probe,)))
    return path


@needs_root
@pytest.mark.parametrize(("least", "right"), [(0.0, True), (0.5, False)])
def test_arm_code_answers_and_is_judged(tmp_path: Path, least: float, right: bool) -> None:
    found = ask(QemuDevice(ROOT), bundle(tmp_path, least), tmp_path)
    assert [j.passed for j in found.judged] == [right, right]
    assert found.hello.machine.reality is Reality.EMULATOR
    assert found.hello.machine.architecture == "aarch64"


def test_without_a_root_the_remedy_is_told() -> None:
    with pytest.raises(UsageError, match="qemu-aarch64 needs") as refused:
        QemuDevice("")
    assert "tools/arm64-root" in refused.value.hint


def make(root: Path, *names: str) -> QemuDevice:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
    return QemuDevice(str(root))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    said = make(tmp_path).availability()
    assert not said.usable
    for what in ("emulator", "Python", "onnxruntime", "numpy", "pydantic"):
        assert what in said.detail
    assert "tools/arm64-root" in said.remedy
    wheels = ("wheels/numpy/a", "wheels/pydantic/a")
    partly = make(tmp_path, "emulator/qemu-aarch64", "usr/bin/python3.11", *wheels)
    assert partly.availability().detail == f"{tmp_path} has no onnxruntime in wheels"
    assert make(tmp_path, "wheels/onnxruntime/a").availability().usable


def test_an_installed_emulator_serves_where_the_root_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = make(
        tmp_path,
        "usr/bin/python3.11",
        "usr/bin/python3.11-config",
        "wheels/onnxruntime/a",
        "wheels/numpy/a",
        "wheels/pydantic/a",
    )
    assert not found.availability().usable
    make(tmp_path, "bin/qemu-aarch64-static")
    assert found.availability().usable


def test_it_runs_onnx_bundles_and_tells_no_latency(tmp_path: Path) -> None:
    device = QemuDevice(str(tmp_path))
    found = Bundle.open(bundle(tmp_path))
    assert device.kind is RecordKind.FUNCTIONAL
    assert device.supports(found).usable
    other = Bundle(found.path, found.manifest.model_copy(update={"runtime": "executorch"}))
    assert "executorch" in device.supports(other).detail
