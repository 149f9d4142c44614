from __future__ import annotations

import platform
import sys
import types
from pathlib import Path

import pytest

from care_mobile.errors import MissingDependencyError
from care_mobile.requirements import TOOLS, check, load, tool_versions, version


def test_versions_are_found_without_import() -> None:
    import numpy

    assert version("numpy") == numpy.__version__
    assert version("no-such-distribution") is None


def test_tool_versions_name_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tool_versions()["python"] == platform.python_version()
    known = {"torch": "2.13.0", "numpy": "2.0"}
    monkeypatch.setattr("care_mobile.requirements.version", known.get)
    assert tool_versions() == {"python": platform.python_version(), **known}
    assert set(known) < set(TOOLS)


def test_what_is_installed_is_usable() -> None:
    found = check(("numpy", "pydantic"), "export")
    assert found.usable
    assert found.detail == f"numpy {version('numpy')}, pydantic {version('pydantic')}"
    assert found.remedy == ""


def test_what_is_missing_is_named_with_its_remedy() -> None:
    found = check(("numpy", "no-such-a", "no-such-b"), "bench")
    assert not found.usable
    assert found.detail == "missing: no-such-a, no-such-b"
    assert found.remedy == "pip install 'care-mobile[bench]'"


def test_load_imports() -> None:
    assert isinstance(load("json", "export"), types.ModuleType)


def test_load_says_what_is_missing() -> None:
    with pytest.raises(MissingDependencyError, match="no_such_package is not installed") as caught:
        load("no_such_package.inner", "bench")
    assert "pip install 'care-mobile[bench]'" in caught.value.hint
    assert caught.value.exit_code == 5


def test_load_says_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("raise ImportError('libfoo.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: "1.0")
    with pytest.raises(MissingDependencyError, match=r"cannot be loaded: libfoo\.so"):
        load("broken_package", "export")
    sys.modules.pop("broken_package", None)
