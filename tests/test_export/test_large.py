"""The larger networks to all targets: minutes, so `make test-slow` runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .commands import run


@pytest.mark.slow
@pytest.mark.parametrize("model", ["care_s1", "care_s2"])
@pytest.mark.parametrize("size", ["224", "256x192"])
def test_every_target(model: str, size: str, tmp_path: Path) -> None:
    ended = run("care-export", "-m", model, "-r", size, "-w", "random:3", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    statuses = {b["target"]: b["status"] for b in report["bundles"]}
    assert statuses == {"coreml": "verified", "onnx": "verified", "executorch": "verified"}
    for bundle in report["bundles"]:
        least = 40 if bundle["target"] == "coreml" else 90
        seeded = [r for r in bundle["parity"]["results"] if r["probes"] == "seeded"]
        assert all(r["psnr_db"] >= least for r in seeded)
