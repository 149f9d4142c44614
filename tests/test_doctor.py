from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from broken_packages import FAULTS, break_package, joined, script

import care_mobile
from care_mobile import requirements
from care_mobile.diagnosis import Ability, Diagnosis, diagnose
from care_mobile.doctor import main
from care_mobile.runtimes import RUNTIMES


@pytest.fixture(scope="module")
def real() -> Diagnosis:
    """Of this machine, with every import tried."""
    return diagnose()


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports take seconds, and other tests are about them."""
    monkeypatch.setattr("care_mobile.diagnosis.try_import", lambda modules, seconds: None)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["care-doctor", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these distributions were not installed."""
    real = requirements.version

    def version(name: str) -> str | None:
        return None if name in names else real(name)

    for module in ("requirements", "diagnosis"):
        monkeypatch.setattr(f"care_mobile.{module}.version", version)


def abilities(diagnosis: Diagnosis, kind: str) -> dict[str, Ability]:
    return {a.name: a for a in diagnosis.abilities if a.kind == kind}


def test_json_is_the_contract(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], real: Diagnosis
) -> None:
    assert run(monkeypatch, "--json") == 0
    out, err = capsys.readouterr()
    content: dict[str, Any] = json.loads(out)
    assert err == ""
    assert list(content) == [
        "schema_version",
        "system",
        "processors",
        "tools",
        "packages",
        "abilities",
    ]
    assert content["schema_version"] == 1
    assert content["processors"] >= 1
    assert {"python", "numpy"} <= content["tools"].keys()
    assert all(p.keys() == {"name", "installed", "wanted", "fits"} for p in content["packages"])
    assert all(
        a.keys() == {"kind", "name", "usable", "detail", "remedy"} for a in content["abilities"]
    )
    assert Diagnosis.model_validate(content) == real


def test_every_target_runtime_and_device_is_listed(real: Diagnosis) -> None:
    found = real
    assert list(abilities(found, "target")) == [t.name for t in care_mobile.TARGETS]
    assert list(abilities(found, "runtime")) == [r.name for r in RUNTIMES]
    assert list(abilities(found, "device")) == list(care_mobile.DEVICES)


def test_packages_are_what_this_project_asks_for(real: Diagnosis) -> None:
    packages = {p.name: p for p in real.packages}
    assert list(packages) == sorted(packages)
    assert {"numpy", "torch", "onnxruntime", "pydantic"} <= packages.keys()
    assert not {"pytest", "mypy", "care-mobile"} & packages.keys()
    assert packages["numpy"].fits
    assert packages["numpy"].installed == requirements.version("numpy")
    assert packages["pydantic"].wanted == "<3,>=2.7"


@pytest.mark.usefixtures("untried")
def test_a_missing_package_shows_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "executorch", "onnxruntime")
    found = diagnose()
    package = {p.name: p for p in found.packages}["executorch"]
    assert (package.installed, package.fits) == (None, False)
    assert "executorch" not in found.tools
    for ability, extra in [
        (abilities(found, "runtime")["executorch"], "export"),
        (abilities(found, "target")["executorch"], "export"),
        (abilities(found, "runtime")["onnxruntime"], "bench"),
    ]:
        assert not ability.usable
        assert ability.detail.startswith("missing: ")
        assert ability.remedy == f"pip install 'care-mobile[{extra}]'"
    assert run(monkeypatch) == 0
    out = capsys.readouterr().out
    assert "missing" in out
    assert out.count("[export]") > 1  # in the table too: no style, but text
    assert "To install what exporting needs: pip install 'care-mobile[export]'" in out


@pytest.mark.usefixtures("untried")
def test_a_version_outside_the_range_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = requirements.version
    monkeypatch.setattr(
        "care_mobile.diagnosis.version", lambda n: "1.0" if n == "torch" else real(n)
    )
    torch = {p.name: p for p in diagnose().packages}["torch"]
    assert (torch.installed, torch.fits) == ("1.0", False)
    monkeypatch.setattr(
        "care_mobile.diagnosis.version", lambda n: "2.13.0+cpu" if n == "torch" else real(n)
    )
    assert {p.name: p for p in diagnose().packages}["torch"].fits


@pytest.mark.skipif(sys.platform == "darwin", reason="usable there")
def test_core_ml_says_where_it_runs(real: Diagnosis) -> None:
    ability = abilities(real, "runtime")["coreml"]
    assert not ability.usable
    assert "macOS" in ability.detail
    assert "Mac" in ability.remedy


def test_a_device_that_needs_more_says_so(real: Diagnosis) -> None:
    ability = abilities(real, "device")["scripted"]
    assert not ability.usable
    assert "scripted=FILE" in ability.remedy


@pytest.mark.usefixtures("untried")
def test_tables_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 0
    out = capsys.readouterr().out
    for text in ("processors, Python", "Packages", "Usable here", "onnxruntime", "what to do"):
        assert text in out


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    source = (
        "import sys\nfrom care_mobile.diagnosis import diagnose\ndiagnose()\n"
        "print([m for m in ('torch', 'coremltools', 'executorch', 'onnx', 'onnxruntime')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def doctor(environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script("care-doctor"), "--json"], cwd=cwd, env=joined(os.environ, environment),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_does_not_import_is_not_usable(tmp_path: Path) -> None:
    """Each package in its own bad way, printing what is no answer; the rest stands."""
    printing = "print('\\n' * 99 + 'good\\x1b[2J'); "
    broken = break_package(tmp_path, "coremltools", printing + FAULTS["crashes"])
    break_package(tmp_path, "onnxscript", FAULTS["raises ImportError"])
    done = doctor(broken, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = Diagnosis.model_validate_json(done.stdout)
    targets, runtimes = abilities(found, "target"), abilities(found, "runtime")
    assert targets["executorch"].usable
    assert runtimes["onnxruntime"].usable
    assert not targets["coreml"].usable
    assert targets["coreml"].detail == (
        "coremltools cannot be loaded: the import ended the process (SIGABRT)"
    )
    assert targets["onnx"].detail == (
        "onnxscript cannot be loaded: libfoo.so.1: undefined symbol: bar"
    )
    assert "pip install" in targets["onnx"].remedy


def test_a_package_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_package(tmp_path, "torch", "import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(tmp_path)
    steps: list[str] = []
    found = diagnose(lambda what, done, total: steps.append(what), seconds=2.0)
    for ability in abilities(found, "target").values():
        assert ability.detail == "torch cannot be loaded: not done after 2 s"
    assert abilities(found, "runtime")["coreml-interpreter"].usable
    assert "importing what coreml needs" in steps


def test_what_care_mobile_itself_needs_is_one_line(tmp_path: Path) -> None:
    done = doctor(break_package(tmp_path, "numpy", FAULTS["crashes"]), tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("error: numpy cannot be loaded: the import ended the process")
    assert "Traceback" not in done.stderr
