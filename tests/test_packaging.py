"""The wheel holds the package and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "care_mobile": "care_mobile",
    "export": "care_mobile/export",
    "bench": "care_mobile/bench",
}


def test_the_wheel_is_exactly_the_package(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", str(tmp_path), str(ROOT)],
        check=True,
    )
    (wheel,) = tmp_path.glob("care_mobile-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    expected = {
        f"{FOLDERS[path.split('/', 1)[0]]}/{path.split('/', 1)[1]}"
        for path in tracked
        if path.endswith((".py", ".json", "py.typed"))
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)


def _configuration() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib")
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def _modules(folder: str) -> set[str]:
    """Modules and packages right below a folder."""
    found = [path for path in (ROOT / folder).iterdir() if path.name != "__init__.py"]
    files = {path.stem for path in found if path.suffix == ".py"}
    return files | {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}


def _contract(name: str) -> dict[str, Any]:
    contracts = _configuration()["tool"]["importlinter"]["contracts"]
    (found,) = (contract for contract in contracts if name in contract["name"])
    assert isinstance(found, dict)
    return found


def test_every_package_is_installed() -> None:
    packages = set(_configuration()["tool"]["setuptools"]["packages"])
    places = {ROOT / folder: name.replace("/", ".") for folder, name in FOLDERS.items()}
    found = {
        ".".join((name, *file.parent.relative_to(place).parts))
        for place, name in places.items()
        for file in place.rglob("__init__.py")
    }
    assert packages - {"care_mobile.bench.schema"} == found


def test_the_import_rules_name_every_shared_module() -> None:
    """A module that is new is under the rules, or its exception is written here."""
    shared = {f"care_mobile.{name}" for name in _modules("care_mobile")}
    ruled = set(_contract("the shared package")["source_modules"])
    # These two say what every part can use here.
    assert shared - ruled == {"care_mobile.doctor", "care_mobile.diagnosis"}
    needed = {"care_mobile.errors", "care_mobile.frozen", "care_mobile.text"}
    forbidden = set(_contract("the protocol needs")["forbidden_modules"])
    assert shared - needed <= forbidden
    assert not forbidden & needed
