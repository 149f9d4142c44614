from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import care_mobile
from care_mobile import requirements
from care_mobile.diagnosis import Ability, Diagnosis, diagnose
from care_mobile.doctor import main
from care_mobile.runtimes import RUNTIMES


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
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
    assert Diagnosis.model_validate(content) == diagnose()


def test_every_target_runtime_and_device_is_listed() -> None:
    found = diagnose()
    assert list(abilities(found, "target")) == [t.name for t in care_mobile.TARGETS]
    assert list(abilities(found, "runtime")) == [r.name for r in RUNTIMES]
    assert list(abilities(found, "device")) == list(care_mobile.DEVICES)


def test_packages_are_what_this_project_asks_for() -> None:
    packages = {p.name: p for p in diagnose().packages}
    assert list(packages) == sorted(packages)
    assert {"numpy", "torch", "onnxruntime", "pydantic"} <= packages.keys()
    assert not {"pytest", "mypy", "care-mobile"} & packages.keys()
    assert packages["numpy"].fits
    assert packages["numpy"].installed == requirements.version("numpy")
    assert packages["pydantic"].wanted == "<3,>=2.7"


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
def test_core_ml_says_where_it_runs() -> None:
    ability = abilities(diagnose(), "runtime")["coreml"]
    assert not ability.usable
    assert "macOS" in ability.detail
    assert "Mac" in ability.remedy


def test_a_device_that_needs_more_says_so() -> None:
    ability = abilities(diagnose(), "device")["scripted"]
    assert not ability.usable
    assert "scripted=FILE" in ability.remedy


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
