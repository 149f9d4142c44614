"""The harness as hosts start it: a process of its own, a file that the host's reader takes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_mobile.bench.protocol.events import Block, Checked, Failed, Hello, Loaded
from care_mobile.bench.protocol.plan import LoadKind, Phase, Round, Sustained

from .conftest import Bench, cell, kinds, of

MakeBundle = Callable[..., Path]


def test_a_round_of_nothing(bench: Bench) -> None:
    plan = bench.plan(cell("a"), cell("b"))
    done = bench.command()
    assert (done.returncode, done.stderr) == (0, "")
    found = bench.read(plan)
    assert found.ended
    assert kinds(found) == [
        "hello", "control", "loaded", "loaded", "warm", "warm", "block", "block", "end",
    ]  # fmt: skip
    hello = found.events[0]
    assert isinstance(hello, Hello)
    assert (hello.session, hello.round, hello.launch) == ("s-1", 0, "l-1")
    assert {r.kind for r in hello.readings} >= {"host", "thermal", "memory"}
    assert [b.cell for block in of(Block, found) for b in block.bursts] == [0, 1, 1, 0]


def test_a_round_of_onnxruntime(bench: Bench, make_bundle: MakeBundle) -> None:
    image = np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)
    probe = bench.probe(image)
    made = make_bundle("tiny", layers=2)
    a, b = (
        cell(n, "onnxruntime", folder=bench.bundle(n, made), probes=(probe,)) for n in ("a", "b")
    )
    plan = bench.plan(a, b)
    done = bench.command()
    assert (done.returncode, done.stderr) == (0, "")
    found = bench.read(plan)
    assert not of(Failed, found)
    loaded = of(Loaded, found)
    assert [(e.engine.name, e.threads, e.kind) for e in loaded] == [
        ("onnxruntime", 1, LoadKind.CACHED)
    ] * 2
    assert all(e.load_ns > 0 for e in loaded)
    checked = of(Checked, found)
    assert [(e.cell, e.moment) for e in checked] == [
        (0, "before"), (1, "before"), (0, "after"), (1, "after"),
    ]  # fmt: skip
    told = np.frombuffer(base64.b64decode(checked[0].answers[0].data), "<f4")
    assert np.array_equal(told.reshape(1, 3, 8, 8), np.maximum(image, 0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"plan": "nowhere.json"}, "nowhere.json: No such file"),
        ({"number": 1}, "there is no round 1; the plan has rounds 0 to 0"),
        ({"number": -1}, "there is no round -1"),
        ({"launch": "../x"}, "--launch takes"),
        ({"round": "x"}, "--round"),
        ({"rou": "0"}, "--rou"),
        ({"no-such-option": "x"}, "--no-such-option"),
    ],
)
def test_what_cannot_be_served(bench: Bench, change: dict[str, Any], told: str) -> None:
    bench.plan(cell())
    file = bench.folder / "out.jsonl"
    done = bench.command(**{"output": file, **change})
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "plan.json: "),
        (json.dumps({"protocol": 3}).encode(), "of protocol 3"),
        (json.dumps({"protocol": 2}).encode(), "session: Field required"),
    ],
)
def test_what_is_no_plan(bench: Bench, content: bytes, told: str) -> None:
    (bench.folder / "plan.json").write_bytes(content)
    done = bench.command()
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (bench.folder / "round-0.jsonl").exists()


def test_a_file_is_never_written_over(bench: Bench) -> None:
    bench.plan(cell())
    old = bench.folder / "round-0.jsonl"
    old.write_text("yesterday's")
    done = bench.command()
    assert done.returncode == 2
    assert "exists" in done.stderr
    assert old.read_text() == "yesterday's"


def test_nowhere_to_write(bench: Bench) -> None:
    bench.plan(cell())
    done = bench.command(output=bench.folder / "no" / "such" / "file")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"phases": ["burst", "soaked"]},
        {"load": "lukewarm"},
        {"mode": "shuffled"},
        {"unit": "dsp"},
    ],
)
def test_a_later_minor_version_asks_for_more(bench: Bench, change: dict[str, Any]) -> None:
    plan = bench.plan(cell())
    content = json.loads((bench.folder / "plan.json").read_bytes())
    content["rounds"][0].update({k: v for k, v in change.items() if k in ("phases", "load")})
    content["burst"].update({k: v for k, v in change.items() if k == "mode"})
    content["cells"][0].update({k: v for k, v in change.items() if k == "unit"})
    for minor in (0, 1):
        (bench.folder / "plan.json").write_text(json.dumps(content | {"minor": minor}))
        done = bench.command()
        assert (done.returncode, done.stderr.count("\n")) == ((2, 1) if minor == 0 else (0, 0))
    found = bench.read(plan)
    assert kinds(found) == ["hello", "failed", "end"]
    (failed,) = of(Failed, found)
    assert (failed.cell, failed.code) == (None, "not-supported")
    assert "update care-mobile" in failed.detail


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(bench: Bench, number: signal.Signals) -> None:
    """Also where it was ignored by whoever started the harness."""
    long = Sustained(duration_ns=3600 * 10**9)
    one = Round(number=0, replicate=0, cells=(0,), phases=(Phase.SUSTAINED,))
    plan = bench.plan(cell(), rounds=(one,), sustained=long)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "care_mobile.bench.harness",
            "--plan=plan.json", "--round=0", "--launch=l-1", "--output=round-0.jsonl",
        ],
        cwd=bench.folder,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),  # noqa: PLW1509
    )  # fmt: skip
    file = bench.folder / "round-0.jsonl"
    deadline = time.monotonic() + 60
    while not (file.exists() and b"sustained" in file.read_bytes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == -number
    assert told == b""
    found = bench.read(plan)
    assert not found.ended
    assert "sustained" in kinds(found)


def test_a_round_brings_nothing_that_it_does_not_need(
    bench: Bench, make_bundle: MakeBundle
) -> None:
    """Start-up is paid once per round."""
    folder = bench.bundle("a", make_bundle("tiny", layers=1))
    bench.plan(cell("a", "onnxruntime", folder=folder))
    source = (
        "import sys; from care_mobile.bench.harness.__main__ import main; status = main();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules})); sys.exit(status)"
    )
    done = subprocess.run(
        [
            sys.executable, "-c", source,
            "--plan=plan.json", "--round=0", "--launch=l-1", "--output=round-0.jsonl",
        ],
        cwd=bench.folder, capture_output=True, text=True, check=True, env={**os.environ},
    )  # fmt: skip
    modules = set(done.stdout.split())
    assert {"onnxruntime", "numpy", "pydantic"} <= modules
    heavy = {"torch", "scipy", "coremltools", "executorch", "onnx", "typer", "rich", "PIL"}
    assert not modules & heavy
