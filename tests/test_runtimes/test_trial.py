from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_evaluation.conftest import classifier

from care_mobile.bundle import Bundle, TensorSpec
from care_mobile.errors import RuntimeFailure
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.processes.peer import Limits
from care_mobile.runtimes import trial
from care_mobile.runtimes.trial import Trials, survived

WriteBundle = Callable[..., Path]
OnnxBundle = Callable[..., Path]

__all__ = ["classifier"]

SIZE = Preprocessing(resolution=Resolution(width=16, height=16))


@pytest.fixture
def aborting(write_bundle: WriteBundle, golden: Path) -> Path:
    """A sealed bundle whose .pte, damaged by `make fuzz`, ends the process that loads it."""
    return write_bundle(
        "aborting",
        (golden / "hostile" / "abort.pte").read_bytes(),
        model_file="model.pte",
        runtime="executorch",
        target="executorch",
        preprocessing=SIZE,
        inputs=(TensorSpec(name="x", shape=(1, 3, 16, 16)),),
        outputs=(TensorSpec(name="y", shape=(1, 5)),),
    )


@pytest.fixture
def good(write_bundle: WriteBundle, tmp_path: Path) -> Path:
    from onnx import TensorProto, helper

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8])
        for name in ("image", "logits")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["logits"])], "tiny", ends[:1], ends[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return write_bundle("good", model.SerializeToString())


def test_a_model_that_ends_its_process_is_refused_and_the_next_one_is_tried(
    aborting: Path, good: Path, tmp_path: Path
) -> None:
    with Trials(tmp_path / "marks") as trials:
        with pytest.raises(RuntimeFailure, match="did not survive") as caught:
            trials.check(Bundle.open(aborting), "executorch")
        trials.check(Bundle.open(good), "onnxruntime")
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)
    assert len(list((tmp_path / "marks").iterdir())) == 1  # of the good one


def test_what_survived_is_not_tried_again(good: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(good)
    with Trials(tmp_path / "marks") as trials:
        trials.check(bundle, "onnxruntime")
        assert trials._peer is not None
    with Trials(tmp_path / "marks") as trials:
        trials.check(bundle, "onnxruntime")
        assert trials._peer is None


def test_an_export_that_ran_its_bundle_need_not_try_it(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    survived(Bundle.open(good), "onnxruntime")
    with Trials() as trials:
        trials.check(Bundle.open(good), "onnxruntime")
        assert trials._peer is None


def test_other_content_is_tried(good: Path, write_bundle: WriteBundle, tmp_path: Path) -> None:
    with Trials(tmp_path / "marks") as trials:
        trials.check(Bundle.open(good), "onnxruntime")
        with pytest.raises(RuntimeFailure, match="good: onnxruntime refuses it"):
            trials.check(Bundle.open(write_bundle("good", b"damaged")), "onnxruntime")


def test_probes_and_times_are_no_other_content(
    good: Path, write_bundle: WriteBundle, tmp_path: Path
) -> None:
    model = (good / "model.onnx").read_bytes()
    later = {"created": "2030-01-01T00:00:00Z"}
    with Trials(tmp_path / "marks") as trials:
        trials.check(Bundle.open(good), "onnxruntime")
        trials.check(Bundle.open(write_bundle("good", model, probed=True, **later)), "onnxruntime")
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_load_without_end_is_ended(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "limits", lambda bundle: Limits(seconds=0.001))
    with (
        Trials(tmp_path / "marks") as trials,
        pytest.raises(RuntimeFailure, match=r"longer than 0\.001 s"),
    ):
        trials.check(Bundle.open(good), "onnxruntime")


def test_our_interpreter_needs_no_trial(good: Path, tmp_path: Path) -> None:
    with Trials(tmp_path / "marks") as trials:
        trials.check(Bundle.open(good), "coreml-interpreter")
        assert trials._peer is None


def command(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name(name)), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_care_bench_measures_the_others(aborting: Path, good: Path, tmp_path: Path) -> None:
    asked = ("--preset", "quick", "--rounds", 2, "--iterations", 3, "--no-gate", "--wait", 600)
    done = command("care-bench", aborting, good, *asked, "--json", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    result = json.loads(done.stdout)
    assert [row["bundle"]["name"] for row in result["rows"]] == ["good"]
    assert result["rounds_completed"] == 2
    (left,) = result["skipped"]
    assert "aborting" in left["name"]
    assert "did not survive" in left["reason"]
    assert "Traceback" not in done.stderr
    alone = command("care-bench", aborting, *asked, cwd=tmp_path)
    assert (alone.returncode, alone.stdout) == (5, "")
    assert "did not survive" in alone.stderr


def write_images(folder: Path) -> Path:
    from PIL import Image

    for label in range(5):
        (folder / f"c{label}").mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / f"c{label}" / "0.png")
    return folder


def test_care_eval_says_a_line(aborting: Path, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data")
    done = command("care-eval", aborting, "--data", data, cwd=tmp_path)
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 2
    assert "aborting: executorch did not survive" in done.stderr


def test_care_eval_evaluates_the_others(
    aborting: Path, classifier: Callable[..., Path], tmp_path: Path
) -> None:
    data = write_images(tmp_path / "data")
    other = classifier("other", greys=(20, 50, 80, 110, 140))
    done = command("care-eval", aborting, other, "--data", data, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert [bundle["name"] for bundle in report["bundles"]] == ["other"]
    (failed,) = report["failed"]
    assert failed["path"].endswith("aborting")
    assert "did not survive" in failed["reason"]
    assert done.returncode == 5
    assert "not evaluated: 1 of 2 bundles" in done.stderr
    shown = command("care-eval", aborting, other, "--data", data, "-o", "e.json", cwd=tmp_path)
    assert "did not survive" in " ".join(shown.stdout.split())
    as_reference = ("--reference", aborting, "--data", data, "-o", "r.json")
    done = command("care-eval", other, *as_reference, cwd=tmp_path)
    assert done.returncode == 5
    assert done.stdout == ""
