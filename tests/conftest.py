"""What the tests of the shared package need: golden files, a lively network, small bundles."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from manifests import manifest_of, put_probe

from care_mobile.bundle import write_manifest, writing

# Small networks gain nothing from threads, and threads that wait for each other on a busy machine
# lose seconds. Set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Trials of bundles are remembered by their content: what one test run found must not serve another.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="care-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
# Tables take the width of the terminal; tests have none, whatever pytest-xdist tells its workers.
os.environ.pop("COLUMNS", None)

GOLDEN = Path(__file__).parent / "golden"

WriteBundle = Callable[..., Path]
Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden files."""
    return GOLDEN


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    """`golden/recipe.py`: weights and inputs of the golden cases."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lively_s0() -> Any:
    """CARE-S0 under `random:0`, float32, in evaluation mode. Shared: copy it to change it."""
    from care_mobile import create_model, load_weights

    model = create_model("care_s0")
    load_weights(model, "random:0")
    return model.eval().requires_grad_(False)


@pytest.fixture
def write_bundle(tmp_path: Path) -> WriteBundle:
    """Writes a bundle and returns its folder; `changes` replace fields of its manifest."""

    def write(
        name: str = "tiny",
        content: bytes = b"no model",
        path: Path | None = None,
        probed: bool = False,
        **changes: Any,
    ) -> Path:
        path = path or tmp_path / "bundles" / name
        with writing(path) as partial:
            (partial / changes.get("model_file", "model.onnx")).write_bytes(content)
            if probed:
                changes = {"probes": (put_probe(partial),)} | changes
            write_manifest(partial, manifest_of(partial, **changes))
        return path

    return write


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs Python source in a process of its own."""

    def run(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", source, *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            # Explicit, as readline, which pytest loads, sets a COLUMNS that os.environ lacks;
            # buffered, as streams are for users.
            env=dict(os.environ) | {"PYTHONUNBUFFERED": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
