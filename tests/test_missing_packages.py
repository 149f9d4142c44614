"""Every command with a package missing or broken: a line, exit code 5, and the rest goes on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from broken_packages import FAULTS, break_package, hide_packages, joined, script
from test_evaluation.conftest import nearest_grey

from care_mobile.bundle import TensorSpec
from care_mobile.inputs import InputRange, Preprocessing, Resolution

BASE = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parent),
    "COLUMNS": "140",
    "OMP_NUM_THREADS": "1",
}
EXPORT = ("care-export", "-m", "networks:trained", "-r", "32")


def run(environment: Mapping[str, str], *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    name, *arguments = words
    return subprocess.run(
        [script(name), *arguments], cwd=cwd, env=joined(BASE, environment),
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def refused(ended: subprocess.CompletedProcess[str]) -> str:
    """Standard error of a command that ended with one line, its hint and exit code 5."""
    assert ended.returncode == 5, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    told = [line for line in ended.stderr.splitlines() if not line.startswith(" ")]
    assert len(told) == 1
    assert told[0].startswith("error: ")
    assert "\n  try: " in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(
    ("package", "target"),
    [
        ("torch", "all"),
        ("coremltools", "coreml"),
        ("onnx", "onnx"),
        ("onnxscript", "onnx"),
        ("onnxruntime", "onnx"),
        ("executorch", "executorch"),
    ],
)
def test_export_without(package: str, target: str, tmp_path: Path) -> None:
    hidden = hide_packages(tmp_path / "hidden", package)
    told = refused(run(hidden, *EXPORT, "-t", target, cwd=tmp_path))
    assert f"cannot be made here: missing: {package}" in told
    assert [p.name for p in tmp_path.iterdir()] == ["hidden"]


@pytest.mark.parametrize("fault", FAULTS)
def test_export_with_a_broken_torch(fault: str, tmp_path: Path) -> None:
    broken = break_package(tmp_path / "broken", "torch", FAULTS[fault])
    assert "error: torch cannot be loaded: " in refused(run(broken, *EXPORT, cwd=tmp_path))


@pytest.mark.parametrize(
    ("package", "target"),
    [("coremltools", "coreml"), ("onnx", "onnx"), ("executorch", "executorch")],
)
def test_export_with_a_broken_converter(package: str, target: str, tmp_path: Path) -> None:
    broken = break_package(tmp_path / "broken", package, FAULTS["crashes"])
    told = run(broken, *EXPORT, "-t", target, cwd=tmp_path)
    assert told.returncode == 5
    assert "Traceback" not in told.stderr
    assert f"{package} cannot be loaded: its import ends with SIGABRT" in told.stderr + told.stdout


def test_a_target_without_its_package_loses_no_other(tmp_path: Path) -> None:
    hidden = hide_packages(tmp_path / "hidden", "coremltools")
    broken = break_package(tmp_path / "broken", "executorch", FAULTS["raises ImportError"])
    ended = run(joined(hidden, broken), *EXPORT, "--json", cwd=tmp_path)
    assert ended.returncode == 5, ended.stderr
    found = {bundle["target"]: bundle for bundle in json.loads(ended.stdout)["bundles"]}
    assert found["onnx"]["status"] == "verified"
    assert "missing: coremltools" in found["coreml"]["failure"]["message"]
    assert "undefined symbol: bar" in found["executorch"]["failure"]["message"]
    assert {found[name]["failure"]["exit_code"] for name in ("coreml", "executorch")} == {5}
    assert [p.name for p in (tmp_path / "bundles").iterdir()] == ["trained-onnx-fp32-32x32"]


@pytest.fixture
def bundle(write_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """An ONNX classifier of four greys, with a folder of images `data` beside it."""
    from PIL import Image

    greys = (20, 80, 140, 200)
    for name, grey in zip("abcd", greys, strict=True):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (grey, grey, grey)).save(tmp_path / "data" / name / "0.png")
    return write_bundle(
        "grey",
        nearest_grey(greys),
        outputs=(TensorSpec(name="logits", shape=(1, len(greys))),),
        preprocessing=Preprocessing(
            resolution=Resolution(width=8, height=8),
            input_range=InputRange.BYTE,
            crop_fraction=1.0,
        ),
    )


COMMANDS = {
    "care-bench": ("onnxruntime", ("--blocks", "1", "--iterations", "1", "--records", "records")),
    "care-eval": ("onnxruntime", ("--data", "data")),
    "care-inspect": ("onnx", ()),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_what_comes_after_the_bundle(
    command: str, fault: str | None, bundle: Path, tmp_path: Path
) -> None:
    package, options = COMMANDS[command]
    assert run({}, command, str(bundle), *options, cwd=tmp_path).returncode == 0
    environment = (
        break_package(tmp_path / "broken", package, FAULTS[fault])
        if fault
        else hide_packages(tmp_path / "hidden", package)
    )
    ended = run(environment, command, str(bundle), *options, cwd=tmp_path)
    assert ended.returncode == 5, ended.stderr
    assert "Traceback" not in ended.stderr
    assert package in ended.stderr + ended.stdout
    said = "cannot be loaded" if fault else ("missing: ", "is not installed")
    assert any(
        text in ended.stderr + ended.stdout for text in ([said] if isinstance(said, str) else said)
    )


@pytest.mark.parametrize("command", ["care-bench", "care-eval", "care-inspect"])
def test_torch_is_not_needed_after_the_bundle(command: str, bundle: Path, tmp_path: Path) -> None:
    hidden = hide_packages(tmp_path / "hidden", "torch", "coremltools", "executorch")
    ended = run(hidden, command, str(bundle), *COMMANDS[command][1], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("command", ["care-export", "care-bench", "care-eval", "care-inspect"])
def test_what_all_commands_need(command: str, tmp_path: Path) -> None:
    broken = break_package(tmp_path / "broken", "pydantic", FAULTS["raises ImportError"])
    words = {"care-eval": ("x", "--data", "y"), "care-inspect": ("x",)}.get(command, ())
    told = refused(run(broken, command, *words, cwd=tmp_path))
    assert "cannot be loaded: libfoo.so.1: undefined symbol: bar" in told
