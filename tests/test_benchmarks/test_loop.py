"""The benchmark of the harness's loop, on few samples: what it prints, not how fast that is."""

from __future__ import annotations

import sys

import pytest

from benchmarks import loop
from care_mobile.bench.harness import inferences
from care_mobile.bench.protocol.plan import Sustained


def test_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["loop", "--samples", "200"])
    monkeypatch.setattr(loop, "SUSTAINED", Sustained(duration_ns=1, min_count=300))
    monkeypatch.setattr(inferences, "STRETCH_SAMPLES", 100)
    assert loop.main() == 0
    told = capsys.readouterr().out
    rows = [line.split("|") for line in told.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == [
        "phase", "burst", "burst, inference by inference", "sustained",
        "samples per block", "200", "200", "1000",
    ]  # fmt: skip
    assert int(rows[1][2]) == 200


def test_memory_grows_with_samples_only() -> None:
    few, more_blocks, more_samples = loop.memories(3000)
    assert (few.samples, more_blocks.samples, more_samples.samples) == (3000, 3000, 15_000)
    # The samples of a hundred blocks are 10 MB of integers, if they were kept.
    assert more_blocks.peak_bytes < few.peak_bytes + 3_000_000
    assert more_samples.peak_bytes < 5 * few.peak_bytes + 3_000_000
