"""A bundle that takes another's place: what is different is named."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from manifests import manifest_of, put_probe
from networks import trained

from care_mobile.bundle import MANIFEST, PassReport, Weights
from care_mobile.export.replaced import compare, earlier

from .commands import run

ONNX = ["-m", "networks:trained", "-r", "32", "-t", "onnx"]
NAME = "trained-onnx-fp32-32x32"


def differences(tmp_path: Path, before: dict[str, object], after: dict[str, object]) -> list[str]:
    found = compare(manifest_of(tmp_path, **before), manifest_of(tmp_path, **after))
    return [f"{d.what}: {d.before} -> {d.after}" for d in found.differences]


def test_every_fact_that_decides_is_compared(tmp_path: Path) -> None:
    fold = PassReport(
        name="fold", places=3, relative_error=0.0, operations_before=9, operations_after=6
    )
    assert differences(tmp_path, {}, {}) == []
    assert differences(
        tmp_path,
        {"options": {"opset": 20}, "tools": {"torch": "2.13.0"}, "passes": (fold,)},
        {
            "options": {"opset": 21},
            "tools": {"torch": "2.13.1"},
            "weights": Weights(source="w.pth", random=False, entry="model"),
        },
    ) == [
        "weights: random:0 -> w.pth, entry model",
        "option opset: 20 -> 21",
        "pass fold: 3 places -> None",
        "torch: 2.13.0 -> 2.13.1",
    ]


def test_what_found_no_place_is_no_difference(tmp_path: Path) -> None:
    idle = PassReport(
        name="fold", places=0, relative_error=0.0, operations_before=9, operations_after=9
    )
    after = {"passes": (idle,), "rewrites": {"means": 0}}
    assert differences(tmp_path, {"passes": (), "rewrites": {}}, after) == []


def test_probes_are_no_difference(tmp_path: Path) -> None:
    probe = put_probe(tmp_path)
    found = compare(manifest_of(tmp_path), manifest_of(tmp_path, probes=(probe,)))
    assert found.differences == ()


def test_other_values_of_one_name_differ_where_both_are_known(tmp_path: Path) -> None:
    one = {"weights": Weights(source="as-built", random=False, sha256="a" * 64)}
    two = {"weights": Weights(source="as-built", random=False, sha256="b" * 64)}
    unknown = {"weights": Weights(source="as-built", random=False)}
    assert differences(tmp_path, one, two) == [
        f"weights: as-built, sha256 {'a' * 12} -> as-built, sha256 {'b' * 12}"
    ]
    assert differences(tmp_path, one, one) == []
    assert differences(tmp_path, unknown, two) == []


def test_a_damaged_bundle_is_named(tmp_path: Path) -> None:
    assert earlier(tmp_path) is None
    (tmp_path / MANIFEST).write_text("{}")
    before = earlier(tmp_path)
    assert before is not None
    found = compare(before, manifest_of(tmp_path))
    assert found.created is None
    assert MANIFEST in found.damaged


def test_replacing_is_told_and_can_be_refused(tmp_path: Path) -> None:
    state = {key: value + 0.01 for key, value in trained().state_dict().items()}
    torch.save({"state_dict": trained().state_dict(), "state_dict_ema": state}, tmp_path / "w.pth")
    first = run("care-export", *ONNX, "--json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (bundle,) = json.loads(first.stdout)["bundles"]
    assert bundle["replaced"] is None

    refused = run("care-export", *ONNX, "--no-overwrite", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {NAME} is in bundles already")
    assert "building" not in refused.stderr

    ended = run("care-export", *ONNX, "-w", "w.pth", "--opset", "21", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"{NAME} replaced the bundle of" in ended.stdout
    assert "weights as-built, sha256" in ended.stdout
    assert "-> w.pth, entry state_dict_ema" in ended.stdout
    assert "option opset 20 -> 21" in ended.stdout
    assert "w.pth holds 2 state dicts: state_dict_ema was taken" in ended.stdout
    assert "--checkpoint-key takes state_dict." in ended.stdout

    again = run("care-export", *ONNX, "-w", "w.pth", "--opset", "21", "--json", cwd=tmp_path)
    report = json.loads(again.stdout)
    assert report["bundles"][0]["replaced"]["differences"] == []
    (network,) = report["networks"]
    assert network["weights_entry"] == "state_dict_ema"
    assert network["weights_entries"] == ["state_dict", "state_dict_ema"]


def test_a_bundle_that_stays_since_the_new_one_failed(tmp_path: Path) -> None:
    assert run("care-export", *ONNX, cwd=tmp_path).returncode == 0
    before = (tmp_path / "bundles" / NAME / MANIFEST).read_bytes()
    options = ["-t", "executorch", "--max-partitions", "0"]
    first = run("care-export", *ONNX[:4], "-t", "executorch", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    ended = run("care-export", *ONNX[:4], *options, cwd=tmp_path)
    assert ended.returncode == 2
    assert "the earlier bundle of that name is still there" in ended.stdout
    assert (tmp_path / "bundles" / NAME / MANIFEST).read_bytes() == before


def test_what_found_no_place_and_what_a_target_has_not(tmp_path: Path) -> None:
    ended = run(
        "care-export", *ONNX[:4], "-t", "onnx", "-t", "executorch", "-p", "fp16", "-p", "fp32",
        "--with-pass", "merge-memory-residuals", "-w", "random:1", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "--with-pass merge-memory-residuals found no place" in ended.stdout
    assert "executorch has no fp16: no such bundle" in ended.stdout
    assert sorted(p.name for p in (tmp_path / "bundles").iterdir()) == [
        "trained-executorch-fp32-32x32", "trained-onnx-fp16-32x32", "trained-onnx-fp32-32x32"
    ]  # fmt: skip
    for skipped, says in [
        ("merge-memory-residuals", "--skip-pass merge-memory-residuals does nothing for onnx"),
        ("all", "--skip-pass layer-scale-into-conv does nothing with --skip-pass all"),
    ]:
        words = [*ONNX, "--skip-pass", skipped]
        words += ["--skip-pass", "layer-scale-into-conv"] if skipped == "all" else []
        refused = run("care-export", *words, cwd=tmp_path)
        assert refused.returncode == 2
        assert says in refused.stderr


def test_classes_are_held_against_the_network_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "nine.txt").write_text("\n".join(map(str, range(9))))
    for words, says in [
        (["--labels", "nine.txt"], "--labels has 9 names for the 10 classes of networks:trained"),
        (["-m", "networks:deaf", "--num-classes", "3"], "--num-classes 3 does nothing"),
    ]:
        ended = run("care-export", *ONNX[2:], *(ONNX[:2] if "-m" not in words else []), *words,
                    cwd=tmp_path)  # fmt: skip
        assert ended.returncode == 2
        assert says in ended.stderr
        assert "proving" not in ended.stderr
