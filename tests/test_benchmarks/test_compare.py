"""A real comparison of a tiny network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from benchmarks import compare as command
from benchmarks.collect import CompareRequest, compare
from benchmarks.rendering import performance, write
from benchmarks.results import Comparison, Role
from care_mobile.errors import UsageError

MODEL = "networks:tiny_care"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def request_(folder: Path) -> CompareRequest:
    return CompareRequest(
        models=(MODEL,),
        targets=("onnx",),
        precisions=("fp32",),
        launches=2,
        blocks=2,
        iterations=2,
        quick=True,
        output=folder,
        command="a test",
    )


@pytest.fixture(scope="module")
def found(request_: CompareRequest) -> Comparison:
    return compare(request_)


def test_everything_was_measured(found: Comparison) -> None:
    (entered,) = found.contests
    assert entered.failures == ()
    roles = [c.role for c in entered.contestants]
    assert roles == [Role.NAIVE, Role.NAIVE, Role.PART, Role.OURS]
    for contestant in entered.contestants:
        assert [[len(block) for block in one] for one in contestant.samples_ns] == [[2, 2]] * 2
        assert contestant.operators
    assert entered.contestants[-1].parity == "verified"


def test_the_document_matches_the_raw_samples(found: Comparison, folder: Path) -> None:
    """Ratios recomputed from the JSON's samples stand in the document's tables."""
    path = write(folder, "performance", performance(found), found)
    content = json.loads(path.with_suffix(".json").read_text())
    (entered,) = content["contests"]
    by_role = {c["role"]: c["samples_ns"] for c in entered["contestants"]}
    logs = {
        role: [np.log([np.median(block) for block in launch]) for launch in launches]
        for role, launches in by_role.items()
    }
    pairs = zip(logs["ours"], logs["part"], strict=True)
    ratio = np.exp(np.mean([np.mean(ours - part) for ours, part in pairs]))
    row = next(
        line
        for line in path.read_text().splitlines()
        if line.startswith("| fp32: our time over the bound's, at most 1.4 |")
    )
    assert f"| {ratio:.2f} (" in row


def test_what_stays_in_the_output_folder(found: Comparison, folder: Path) -> None:
    names = {path.name for path in (folder / "bundles").iterdir()}
    assert names == {
        "tiny_care-onnx-fp32",
        "tiny_care-onnx-naive-dynamo",
        "tiny_care-onnx-naive-torchscript",
        "tiny_care-onnx-pointwise-alone",
    }
    (session,) = {entered.session_id for entered in found.contests}
    assert [path.name for path in (folder / "records").iterdir()] == [f"{session}.jsonl"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precisions": ("int8",)}, "every comparison is with fp32"),
        ({"precisions": ("fp32", "fp7")}, "no target has precision fp7"),
        ({"models": ("care_s9",)}, "unknown model 'care_s9'"),
    ],
)
def test_requests_that_make_no_sense(
    request_: CompareRequest, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compare(request_.model_copy(update=changes))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Result, list[CompareRequest]]:
    """The command with everything but the work."""
    seen: list[CompareRequest] = []
    monkeypatch.setattr(sys, "argv", ["compare", *arguments])

    def stop(request: CompareRequest, on_step: object) -> None:
        seen.append(request)
        raise UsageError("far enough")

    monkeypatch.setattr("benchmarks.collect.compare", stop)
    return CliRunner().invoke(command.app, arguments), seen


def test_quick_is_one_network_and_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    _, (quick,) = run(monkeypatch, "--quick", "--output", "x")
    _, (full,) = run(monkeypatch)
    assert quick.models == ("care_s0",)
    assert full.models == ("care_s0", "care_s1", "care_s2")
    assert quick.launches < full.launches
    assert quick.blocks < full.blocks
    assert quick.iterations < full.iterations
    assert quick.command == "python -m benchmarks.compare --quick --output x"
    _, (own,) = run(monkeypatch, "--quick", "--models", "a, b,a", "--launches", "7")
    assert own.models == ("a", "b")
    assert own.launches == 7
