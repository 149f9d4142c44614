from __future__ import annotations

import os
from pathlib import Path

import pytest
from broken_packages import FAULTS, break_package

from care_mobile.errors import MissingDependencyError
from care_mobile.importing import check, try_import
from care_mobile.requirements import load

REASONS = {
    "raises ImportError": "cannot be loaded: libfoo.so.1: undefined symbol: bar",
    "raises OSError": "cannot be loaded: OSError: libfoo.so.1: cannot open shared object file",
    "raises anything": "cannot be loaded: RuntimeError: built against another numpy",
    "leaves": "cannot be loaded: SystemExit: this package is not for you",
    "crashes": "cannot be loaded: the import ended the process (SIGABRT)",
    "leaves at once": "cannot be loaded: the import ended the process (exit code 0)",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where broken packages can be put; nothing is remembered from elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return tmp_path / "packages"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_package_is_one_line(fault: str, home: Path) -> None:
    break_package(home, "faulty", FAULTS[fault])
    assert try_import(("faulty",)) == f"faulty {REASONS[fault]}"
    with pytest.raises(MissingDependencyError) as refused:
        load("faulty.inner", "bench")
    assert str(refused.value) == f"faulty {REASONS[fault]}"
    assert refused.value.exit_code == 5
    assert "care-doctor" in refused.value.hint


def test_a_package_that_hangs(home: Path) -> None:
    break_package(home, "faulty", "import time; time.sleep(3600)")
    assert try_import(("faulty",), seconds=1.0) == "faulty cannot be loaded: not done after 1 s"


def test_a_package_that_prints_is_not_believed(home: Path) -> None:
    break_package(home, "faulty", "print('good\\n' * 100_000); import os; os._exit(0)")
    assert "ended the process" in str(try_import(("faulty",)))
    break_package(home, "chatty", "import sys; print('\\x1b[31m bad' * 1000, file=sys.stderr)")
    assert try_import(("chatty",)) is None


def test_a_module_that_is_not_there(home: Path) -> None:
    assert try_import(("no_such_package.inner",)) == "no_such_package is not installed"
    assert try_import(("json", "no_such_package")) == "no_such_package is not installed"


def test_success_is_remembered_until_the_package_changes(home: Path) -> None:
    marker = home / "tried"
    break_package(home, "sound", f"open({str(marker)!r}, 'a').write('x')")
    assert check("sound") is None
    assert check("sound") is None
    assert marker.read_text() == "x"
    file = home / "sound" / "__init__.py"
    file.write_text("import os; os.abort()")
    os.utime(file, ns=(1, 1))
    assert "SIGABRT" in str(check("sound"))
    assert "SIGABRT" in str(check("sound"))  # failure is not remembered
