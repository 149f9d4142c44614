"""Bad input, as a user gives it: one clear line, its exit code, nothing half written."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from care_mobile.models.catalog import create_model

from .commands import ENVIRONMENT, command, run


def refused(tmp_path: Path, code: int, *arguments: str) -> str:
    """Run care-export; returns standard error after checking how it ended."""
    ended = run("care-export", "--output", "out", *arguments, cwd=tmp_path)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    told = [line for line in ended.stderr.splitlines() if not line[:1].isspace()]
    assert len(told) == 1, "more than one line that is neither progress nor the hint"
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())
    return ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "care_so"], "unknown model 'care_so'"),
        (["--model", "care_so"], "did you mean"),
        (["--target", "onx"], "did you mean onnx?"),
        (["--precision", "fp61", "-t", "coreml"], "did you mean fp16"),
        (["--precision", "fp16", "-t", "executorch"], "target executorch has no precision fp16"),
        (["--resolution", "0"], "out of range"),
        (["--resolution", "31"], "at least 32 px"),
        (["--resolution", "224x31"], "at least 32 px"),
        (["--resolution=-224"], "out of range"),
        (["--resolution", "100000"], "out of range"),
        (["--resolution", "99999999999999999999"], "is not a size"),
        (["--resolution", "big"], "is not a size"),
        (["--input-range", "0..256"], "did you mean 0..255"),
        (["--image-input", "--input-range", "0..1"], "0..255"),
        (["--opset", "17"], "from 20"),
        (["--min-ios", "12"], "choose 17 to 18"),
        (["--mean", "0.5"], "has 1 values for 3 channels"),
        (["--mean", "a,b,c"], "no list of numbers"),
        (["--std", "0,1,1"], "must be positive"),
        (["--labels", "nowhere.txt"], "cannot be read"),
        (["--skip-pass", "batch-norm"], "unknown pass"),
        (["--weights", "as-built"], "built without trained weights"),
        (["--weights", "random:x"], "the seed is no whole number"),
        (["--weights", "nowhere.pth"], "does not exist"),
        (["--model", "networks:nothing"], "networks:nothing"),
        (["--model", "networks:failing"], "this factory always fails"),
        (["--model", "networks:not_a_module"], "returned str"),
        (["--model", "no_such_package:x"], "no_such_package"),
        (["-m", "care_s0", "-m", "care_s1", "-w", "a.pth"], "one weights file fits one model"),
    ],
)
def test_names_and_values(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(tmp_path, 2, *arguments)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_checkpoints(tmp_path: Path) -> None:
    state = create_model("care_s0").state_dict()
    good = tmp_path / "good.pth"
    torch.save(state, good)
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("these are no weights\n" * 9)
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save(create_model("care_s1").state_dict(), tmp_path / "s1.pth")
    torch.save(create_model("care_s0", num_classes=10).state_dict(), tmp_path / "ten.pth")
    for name, message in {
        "cut.pth": "is truncated",
        "empty.pth": "is empty",
        "text.pth": "no PyTorch file",
        "bomb.pth": "run code",
        "s1.pth": "--model care_s1",
        "ten.pth": "--num-classes 10",
    }.items():
        assert message in refused(tmp_path, 2, "-t", "onnx", "--weights", name), name
    assert not (tmp_path / "exploded").exists()


def test_an_output_folder_that_holds_something_else(tmp_path: Path) -> None:
    place = tmp_path / "out" / "care_s0-onnx-fp32"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("do not lose me")
    ended = run("care-export", "-t", "onnx", "-o", "out", cwd=tmp_path)
    assert ended.returncode == 1
    assert "exists and is not a bundle" in ended.stderr
    assert [p.name for p in place.iterdir()] == ["thesis.txt"]


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    ended = run("care-export", "-t", "onnx", "-o", "out", cwd=tmp_path)
    assert ended.returncode == 1
    assert "cannot write to out" in ended.stderr
    assert (tmp_path / "out").read_text() == "a file"


TINY = ["--model", "networks:tiny_care", "--resolution", "32", "--target", "onnx"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good bundle; tests that may hurt it copy it."""
    folder = tmp_path_factory.mktemp("exported")
    ended = run("care-export", *TINY, "--output", "out", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_ctrl_c_in_mid_export_leaves_earlier_bundles_intact(exported: Path) -> None:
    before = contents(exported)
    process = subprocess.Popen(
        command("care-export", *TINY, "--output", "out"),
        cwd=exported, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "capturing" in line:  # seconds before it is done, so that a busy machine is no race
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    rest = process.stderr.read()
    assert process.wait(60) == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert contents(exported) == before
    assert [p.name for p in (exported / "out").iterdir()] == ["tiny_care-onnx-fp32-32x32"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # no worker may outlive its parent
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("a worker is still running")


def test_a_full_disk_leaves_earlier_bundles_intact(exported: Path) -> None:
    """A limit on file sizes stands for the full disk: writing fails half way."""
    before = contents(exported)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ended = subprocess.run(
        command("care-export", *TINY, "--output", "out"), cwd=exported, env=ENVIRONMENT,
        capture_output=True, text=True, preexec_fn=limit, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "File too large" in ended.stderr + ended.stdout
    assert contents(exported) == before
