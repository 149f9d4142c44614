"""Plans of a few cells in a folder, rounds run in this process or in one of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_mobile.bench.harness.launch import measure
from care_mobile.bench.protocol.events import Event
from care_mobile.bench.protocol.plan import (
    BundleFacts,
    Cell,
    FileRef,
    Gate,
    Phase,
    Plan,
    Probe,
    ProbeTensor,
    Round,
    Warmup,
)
from care_mobile.bench.protocol.reading import RoundFile, read_round
from care_mobile.bundle import file_sha256

FACTS = BundleFacts(
    name="tiny",
    model="tiny",
    target="onnx",
    precision="fp32",
    resolution="8x8",
    weights_source="a test",
    random_weights=True,
    size_bytes=0,
)
SMALL = {
    "warmup": Warmup(
        window=2, min_iterations=4, max_iterations=8, min_ns=10**7, tolerance_permille=10**6
    ),
    "gate": Gate(control_ns=1000, control_drift_permille=None),
}
"""Rules under which a round takes some milliseconds."""


@dataclass(frozen=True)
class Bench:
    """A folder for plans. `add` puts a tensor there; `plan` writes a plan of one or more rounds."""

    folder: Path

    def add(self, name: str, array: np.ndarray[Any, Any]) -> FileRef:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(array.tobytes())
        return FileRef(path=name, sha256=file_sha256(file), size_bytes=file.stat().st_size)

    def probe(self, array: np.ndarray[Any, Any], name: str = "photo", **more: Any) -> Probe:
        path = f"probes/{name}.bin"
        self.add(path, array)
        tensor = ProbeTensor(name="image", dtype=array.dtype.name, shape=array.shape, path=path)
        return Probe(name=name, inputs=(tensor,), **more)

    def bundle(self, cell: str, made: Path) -> str:
        """A copy of a bundle for a cell: the plan's path of it."""
        path = f"bundles/{cell}"
        shutil.copytree(made, self.folder / path)
        return path

    def plan(self, *cells: Cell, rounds: tuple[Round, ...] = (), **changes: Any) -> Plan:
        everyone = tuple(range(len(cells)))
        one = Round(number=0, replicate=0, cells=everyone, blocks=(everyone, everyone[::-1]))
        paths = {t.path for cell in cells for probe in cell.probes for t in probe.inputs}
        files = tuple(self._listed(path) for path in sorted(paths))
        plan = Plan(
            session="s-1",
            created="2026-01-02T03:04:05Z",
            cells=cells,
            rounds=rounds or (one,),
            files=files,
            **{**SMALL, **changes},
        )
        (self.folder / "plan.json").write_text(plan.model_dump_json())
        return plan

    def _listed(self, path: str) -> FileRef:
        file = self.folder / path
        size = file.stat().st_size if file.exists() else 0
        return FileRef(path=path, sha256="0" * 64, size_bytes=size)

    def run(self, plan: Plan, number: int = 0) -> RoundFile:
        """A round in this process, read as the host reads it."""
        file = self.folder / f"round-{number}.jsonl"
        measure(self.folder / "plan.json", number, "l-1", file, time.perf_counter_ns())
        return self.read(plan, number)

    def read(self, plan: Plan, number: int = 0) -> RoundFile:
        return read_round(self.folder / f"round-{number}.jsonl", plan, plan.rounds[number], "l-1")

    def command(self, number: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """A round in a process of its own."""
        arguments = {
            "plan": self.folder / "plan.json",
            "round": number,
            "launch": "l-1",
            "output": self.folder / f"round-{number}.jsonl",
            **options,
        }
        given = [f"--{key}={value}" for key, value in arguments.items()]
        return subprocess.run(
            [sys.executable, "-m", "care_mobile.bench.harness", *given],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = tmp_path / "plan"
    folder.mkdir()
    return Bench(folder)


def cell(name: str = "a", engine: str = "noop", **more: Any) -> Cell:
    return Cell(id=name, label=name, bundle=FACTS, engine=engine, **more)


def of(kind: type[Any], found: RoundFile) -> list[Any]:
    """The events of a kind."""
    return [event for event in found.events if isinstance(event, kind)]


def kinds(found: RoundFile) -> list[str]:
    return [_word(event) for event in found.events]


def _word(event: Event) -> str:
    return str(type(event).model_fields["event"].default)


Run = Callable[..., RoundFile]
ALL_PHASES = (Phase.BURST, Phase.PACED, Phase.SUSTAINED)
