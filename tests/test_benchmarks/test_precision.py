"""What precisions cost: the document, and a real run on digits."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import precision as command
from benchmarks.accuracy import (
    DIGITS,
    Case,
    PrecisionRequest,
    Precisions,
    measure_precisions,
)
from benchmarks.rendering import (
    marks,
    precision,
    renew_table,
    trained_table,
    write,
)
from benchmarks.results import Latency, Ratio
from care_mobile.errors import UsageError
from care_mobile.evaluation.results import Agreement, BundleAccuracy, Proportion

from .support import MACHINE
from .test_rendering import rows


def share(count: int, total: int = 1000) -> Proportion:
    return Proportion(count=count, total=total, share=count / total, low=0.9, high=0.99)


def accuracy(name: str, agreement: Agreement | None) -> BundleAccuracy:
    return BundleAccuracy(
        name=name,
        integrity="0",
        model=DIGITS,
        target="onnx",
        precision="fp32",
        random_weights=False,
        runtime={},
        top1=share(986 if agreement is None else 983),
        top5=None,
        nan=0,
        agreement=agreement,
        classes=(),
    )


def case(**changes: Any) -> Case:
    fields: dict[str, Any] = {
        "model": DIGITS,
        "target": "onnx",
        "precision": "fp32",
        "status": "verified",
        "failure": "",
        "runtime": "onnxruntime",
        "size_bytes": 1_000_000,
        "calibration": "",
        "psnr_db": {"seeded": 130.0, "photos": 120.0, "zeros": 110.0, "large-range": 60.0},
        "latency": Latency(median_ms=1.5, p10_ms=1.4, p90_ms=1.7),
        "to_full": Ratio(value=1.0, low=1.0, high=1.0),
    }
    return Case(**fields | changes)


@pytest.fixture
def found() -> Precisions:
    behind = Agreement(
        reference="full",
        same=share(990),
        gained=2,
        lost=5,
        difference=-0.003,
        difference_low=-0.009,
        difference_high=0.003,
    )
    return Precisions(
        command="python -m benchmarks.precision",
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        seconds=1.0,
        tools={"python": "3.11"},
        machine=MACHINE,
        cpu=1,
        launches=10,
        blocks=3,
        limit=None,
        images=1000,
        fingerprint="0123456789abcdef",
        reference="full",
        cases=(
            case(accuracy=accuracy("full", None)),
            case(
                precision="int8",
                size_bytes=260_000,
                calibration="64 of training",
                to_full=Ratio(value=0.61, low=0.6, high=0.62),
                accuracy=accuracy("int8", behind),
            ),
            case(
                target="coreml",
                precision="fp16",
                status="failed",
                failure="broken",
                psnr_db={},
                latency=None,
                to_full=None,
            ),
            case(model="care_s0"),
        ),
    )


def test_sizes_latencies_distances_and_accuracies_stand_in_the_tables(found: Precisions) -> None:
    table = rows(precision(found))
    full = ["onnx", "fp32", "1.00", "100%", "1.50", "", "130.0", "120.0", "110.0"]
    assert [*full, "98.6", "90.0 to 99.0", "reference", "", "verified"] in table
    # Random weights have no accuracy.
    assert [*full, "verified"] in table
    (int8,) = (row for row in table if row[1] == "int8")
    assert int8[2:6] == ["0.26", "26%", "1.50", "0.61 (0.60 to 0.62)"]
    assert int8[9:13] == ["98.3", "90.0 to 99.0", "-0.3 (-0.9 to +0.3)", "99.0 %"]


def test_tables_are_whole(found: Precisions) -> None:
    widths = {row[0]: len(row) for row in rows(precision(found)) if row[0] == "coreml"}
    header = next(row for row in rows(precision(found)) if row[0] == "target")
    assert widths == {"coreml": len(header)}


def test_failures_and_calibration_are_told(found: Precisions) -> None:
    document = precision(found)
    assert "- coreml fp16: broken" in document
    assert "- onnx int8: calibrated with 64 of training." in document


def test_a_quick_run_says_so(found: Precisions) -> None:
    note = "a smoke test, not evidence"
    assert note not in precision(found)
    assert note in precision(found.model_copy(update={"limit": 1000}))


def test_quick_leaves_out_what_takes_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[PrecisionRequest] = []

    def stop(request: PrecisionRequest, on_step: object) -> None:
        seen.append(request)
        raise UsageError("far enough")

    monkeypatch.setattr("benchmarks.accuracy.measure_precisions", stop)
    for arguments in (["--quick"], []):
        monkeypatch.setattr(sys, "argv", ["precision", *arguments])
        CliRunner().invoke(command.app, arguments)
    quick, full = seen
    assert quick.random_models == ()
    assert quick.limit is not None
    assert full.random_models == ("care_s0",)
    assert full.limit is None
    assert quick.launches < full.launches
    assert quick.targets == full.targets == ("coreml", "onnx", "executorch")


def test_the_table_of_the_readme(found: Precisions, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    begins, ends = marks("precision")
    readme.write_text(f"before\n{begins}\nold\n{ends}\nafter\n")
    for _ in range(2):  # a second time changes nothing
        renew_table(readme, trained_table(found))
        text = readme.read_text()
        assert text.startswith(f"before\n{begins}\n| target |")
        assert text.endswith(f"\n{ends}\nafter\n")
        assert "old" not in text
    table = rows(text)
    assert ["onnx", "fp32", "1.00", "1.50", "98.6", "reference", "verified"] in table
    assert ["onnx", "int8", "0.26", "1.50", "98.3", "-0.3 (-0.9 to +0.3)", "verified"] in table
    assert [row[0] for row in table].count("coreml") == 0


@pytest.mark.parametrize("content", [None, b"no marks", b"\xff"])
def test_a_file_without_a_place_for_the_table(content: bytes | None, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    if content is not None:
        readme.write_bytes(content)
    arguments = ["--output", str(tmp_path / "out"), "--readme", str(readme)]
    result = CliRunner().invoke(command.app, arguments)
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "out").exists()


def test_the_documents_agree() -> None:
    """README.md and docs/precision.md come from one run."""
    root = Path(__file__).parents[2]
    document = (root / "docs" / "precision.md").read_text(encoding="utf-8")
    table = rows((root / "README.md").read_text(encoding="utf-8"))
    header = next(row for row in rows(document) if "top-1" in row)
    columns = [header.index(name) for name in ("MB", "ms", "top-1", "points", "status")]
    trained = [row for row in rows(document) if len(row) == len(header)][2:]
    assert len(trained) > 10
    for row in (row for row in trained if row[columns[2]]):
        size, latency, *others = (row[i] for i in columns)
        assert [*row[:2], size, latency or "not measured", *others] in table


@pytest.mark.slow
def test_a_real_run(tmp_path: Path) -> None:
    request = PrecisionRequest(
        random_models=(), targets=("onnx",), limit=20, launches=2, output=tmp_path, command="a test"
    )
    found = measure_precisions(request)
    path = write(tmp_path, "precision", precision(found), found)
    assert Precisions.model_validate_json(path.with_suffix(".json").read_text()) == found
    assert {c.precision for c in found.cases} >= {"fp32"}
    for entry in found.cases:
        assert entry.failure == ""
        assert entry.accuracy is not None
        assert entry.accuracy.top1.total == 20
        assert entry.latency is not None
        assert entry.to_full is not None
    assert found.reference == "digits-onnx-fp32-64x64"
