"""fp16 on the command line: a network that leaves its range is named, and the advice works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .commands import run

BOTH = ("--target", "coreml", "--target", "onnx")


def export(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the report's bundles by target."""
    done = run(
        "care-export", "--model", "overflowing:squares", "--weights", "as-built", "--precision",
        "fp16", "--resolution", "32", "--output", str(folder), "--json", *BOTH, *options,
        cwd=folder,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    bundles = json.loads(done.stdout)["bundles"]
    return done.returncode, {bundle["target"]: bundle for bundle in bundles}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("failed")
    return folder, *export(folder)


def test_what_leaves_half_precision_is_named(failed: tuple[Path, int, dict[str, Any]]) -> None:
    folder, code, bundles = failed
    assert code == 3
    assert not list(folder.iterdir())
    for bundle in bundles.values():
        message, hint = bundle["failure"]["message"], bundle["failure"]["hint"]
        assert re.search(r"mul mul_2 after stem \([\d.]+e\+05\)", message, re.IGNORECASE), message
        assert "leave half precision, which ends at 65504" in message
        assert re.match(r"--keep-float \d+ keeps", hint)
        assert "--min-psnr 40" in hint
        assert "--precision fp32" in hint


def test_the_advice_works(failed: tuple[Path, int, dict[str, Any]], tmp_path: Path) -> None:
    _, _, before = failed
    count = max(bundle["half_precision"]["keep"] for bundle in before.values())
    code, bundles = export(tmp_path, "--keep-float", str(count))
    assert code == 0
    for target, bundle in bundles.items():
        assert bundle["status"] == "verified"
        assert len(bundle["kept_float"]) == count
        manifest = json.loads((tmp_path / bundle["name"] / "manifest.json").read_text())
        assert manifest["kept_float"] == bundle["kept_float"]
        assert all(p["status"] != "failed" for p in manifest["other_parity"]), target


def test_as_many_as_are_needed_are_found(tmp_path: Path) -> None:
    code, bundles = export(tmp_path, "--min-psnr", "40")
    assert code == 0
    for bundle in bundles.values():
        assert bundle["status"] == "verified"
        assert 0 < len(bundle["kept_float"]) <= 4
        assert bundle["parity"]["results"][0]["psnr_db"] >= 40
