"""CARE-S0 to all targets, as a user does it: the figures this project promises."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_care

from care_mobile.bundle import MANIFEST, Bundle, Outlook, find_bundles
from care_mobile.models.checkpoint import load_weights

from .commands import run

TARGETS = ("coreml-fp16", "onnx-fp32", "executorch-fp32")


@pytest.fixture(scope="module")
def care_s0(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of one real export; the bundles lie in `output`."""
    folder = tmp_path_factory.mktemp("care_s0")
    ended = run("care-export", "--output", "out", "--json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    report = json.loads(ended.stdout)
    return report | {"folder": folder / "out"}


def manifest(care_s0: dict[str, object], which: str) -> Bundle:
    return Bundle.open(Path(str(care_s0["folder"])) / f"care_s0-{which}")


def test_every_target_is_there(care_s0: dict[str, object]) -> None:
    folder = Path(str(care_s0["folder"]))
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"care_s0-{t}" for t in TARGETS)
    statuses = {b["target"]: b["status"] for b in care_s0["bundles"]}  # type: ignore[attr-defined]
    assert statuses == {"coreml": "verified", "onnx": "verified", "executorch": "verified"}


@pytest.mark.parametrize("which", ["onnx-fp32", "executorch-fp32"])
def test_parity_in_float32(care_s0: dict[str, object], which: str) -> None:
    parity = manifest(care_s0, which).manifest.parity
    found = {result.probes: result for result in parity.results}
    assert set(found) == {
        "seeded",
        "photos",
        "zeros",
        "constant",
        "large-range",
        "tiny-denominator",
    }
    assert found["seeded"].max_abs <= 1e-4
    assert found["seeded"].psnr_db >= 90
    assert found["photos"].psnr_db >= 90
    assert found["photos"].top1_agreement == 1.0
    assert all(result.passed for result in parity.results)


def test_core_ml_is_verified_by_the_interpreter(care_s0: dict[str, object]) -> None:
    found = manifest(care_s0, "coreml-fp16").manifest
    assert (found.parity.status, found.parity.runtime) == ("verified", "coreml-interpreter")
    for result in found.parity.results:
        if result.probes in ("seeded", "photos", "zeros", "constant"):
            assert result.finite
            assert result.psnr_db >= 60
    if sys.platform != "darwin":
        (framework,) = found.other_parity
        assert (framework.status, framework.runtime) == ("unverified", "coreml")
        assert "macOS only" in framework.reason


def test_the_forecast_finds_nothing_that_leaves_the_neural_engine(
    care_s0: dict[str, object],
) -> None:
    found = manifest(care_s0, "coreml-fp16").manifest
    assert found.forecast is not None
    assert found.forecast.macs_share[Outlook.EXPECTED] > 0.99
    assert found.forecast.operations[Outlook.DOUBTFUL] == 0
    assert not {"ane-epsilon", "ane-transpose", "ane-infinity"} & set(found.forecast.findings)


@pytest.mark.parametrize("which", TARGETS)
def test_the_census_shows_what_is_gone(care_s0: dict[str, object], which: str) -> None:
    census = manifest(care_s0, which).manifest.census
    names = {name.lower(): count for name, count in census.by_type.items()}
    assert sum(names.values()) == census.total
    assert not any("batch" in name and "norm" in name for name in names)
    assert not any("elu" in name and "gelu" not in name and "relu" not in name for name in names)
    classifiers = {"coreml-fp16": "linear", "onnx-fp32": "gemm"}.get(which, "aten_linear_default")
    assert names[classifiers] == 1
    # ExecuTorch's is written out, since XNNPACK has none.
    norms = sum(count for name, count in names.items() if "layer" in name)
    assert norms == (which != "executorch-fp32")


def test_no_transposition_in_attention(care_s0: dict[str, object]) -> None:
    assert "transpose" not in manifest(care_s0, "coreml-fp16").manifest.census.by_type
    onnx = manifest(care_s0, "onnx-fp32").manifest.census
    # ONNX's MatMul has no flag for it: one Transpose per attention, which the runtime fuses.
    assert onnx.by_type["Transpose"] == 12
    assert "Transpose" not in onnx.runtime_by_type
    assert onnx.runtime_by_type["FusedMatMul"] == 12
    assert onnx.by_type["Gelu"] == 37


def test_what_stays_outside_xnnpack(care_s0: dict[str, object]) -> None:
    census = manifest(care_s0, "executorch-fp32").manifest.census
    assert (census.partitions, census.fallback, census.fallback_by_type) == (1, 0, {})
    assert census.total == census.delegated
    assert census.fallback_reasons == {}
    assert manifest(care_s0, "executorch-fp32").manifest.rewrites == {
        "memory-formats-left-out": 0,
        "adaptive-averages": 0,
        "adaptive-maxima": 0,
        "splits-to-slices": 30,
        "expansions-left-out": 0,
        "elu-plus-one": 0,
        "batched-products": 0,
        "means-over-maps": 1,
        "layer-norms-written-out": 1,
        "depthwise-kernels-in-parts": 18,
        "reciprocals-to-divisions": 0,
        "constants-beside-maps": 18,
    }


def test_the_manifest_tells_the_whole_story(care_s0: dict[str, object]) -> None:
    found = manifest(care_s0, "onnx-fp32").manifest
    assert (found.parameters, round(found.macs / 1e9, 3)) == (7_340_000, 0.718)
    assert found.weights.random
    assert found.weights.source == "random:0"
    assert found.inputs[0].shape == (1, 3, 224, 224)
    assert found.outputs[0].name == "logits"
    assert {"torch", "onnx", "onnxscript", "python"} <= set(found.tools)
    assert [p.name for p in found.passes][-1] == "channel-first-attention"
    assert all(p.relative_error <= 1e-10 for p in found.passes)


def test_core_ml_gets_a_program_of_its_own(care_s0: dict[str, object]) -> None:
    found = manifest(care_s0, "coreml-fp16").manifest
    shared = manifest(care_s0, "onnx-fp32").manifest.passes
    assert found.passes[: len(shared)] == shared
    assert [p.name for p in found.passes[len(shared) :]] == [
        "merge-local-branches",
        "range-safe-attention",  # with no place: nothing comes near the end of half precision
        "project-attention-once",
        "join-memory-early",
        "carry-memory-through-depthwise",
        "closing-sum-into-conv",
    ]
    assert found.census.total <= 400
    assert not {"batch_norm", "transpose", "inverse"} & set(found.census.by_type)
    assert found.rewrites["normal-epsilons"] == 13  # twelve attentions and the last LayerNorm


def test_nothing_in_the_bundles_names_this_machine(care_s0: dict[str, object]) -> None:
    folder = Path(str(care_s0["folder"]))
    home = str(Path(__file__).parents[2]).encode()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert home not in content, path
            assert str(folder).encode() not in content, path


def test_core_ml_metadata(care_s0: dict[str, object]) -> None:
    ct = pytest.importorskip("coremltools")
    bundle = manifest(care_s0, "coreml-fp16")
    spec = ct.models.MLModel(str(bundle.model_path), skip_model_load=True).get_spec()
    assert spec.description.input[0].name == "image"
    assert spec.description.output[0].name == "logits"
    assert spec.description.metadata.author.startswith("care-mobile")
    assert "care_mobile.torch" in spec.description.metadata.userDefined
    assert spec.specificationVersion == 8  # iOS 17


def test_a_checkpoint_in_every_range_and_option(tmp_path: Path) -> None:
    """One export with a real file, pixels in 0..255, free batch, a second model size."""
    model = tiny_care()
    load_weights(model, "random:5")
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}},
        tmp_path / "w.pth.tar",
    )
    ended = run(
        "care-export", "-m", "networks:tiny_care", "-r", "64x48", "-r", "32", "-t", "onnx",
        "-w", "w.pth.tar", "--input-range", "0..255", "--dynamic-batch", "--explain", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "input-normalization-into-stem" in ended.stdout
    assert "random" not in ended.stdout
    bundle = Bundle.open(tmp_path / "bundles" / "tiny_care-onnx-fp32-64x48")
    assert (
        Bundle.open(tmp_path / "bundles" / "tiny_care-onnx-fp32-32x32").manifest.parity.status
        == "verified"
    )
    assert bundle.manifest.inputs[0].shape == (None, 3, 48, 64)
    assert bundle.manifest.weights.entry == "state_dict"
    assert bundle.manifest.parity.status == "verified"
    import onnxruntime as ort

    session = ort.InferenceSession(str(bundle.model_path))
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 3, 48, 64)).astype(np.float32)
    (logits,) = session.run(None, {"image": pixels})
    x = torch.from_numpy(bundle.manifest.preprocessing.normalize(pixels)).float()
    assert np.abs(logits - model.eval()(x).detach().numpy()).max() < 1e-4


def test_core_ml_with_image_and_labels(tmp_path: Path) -> None:
    ct = pytest.importorskip("coremltools")
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    ended = run(
        "care-export", "-m", "networks:tiny_care", "-r", "32", "-t", "coreml", "-p", "fp32",
        "--image-input", "--labels", "labels.txt", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    bundle = Bundle.open(tmp_path / "bundles" / "tiny_care-coreml-fp32-32x32")
    spec = ct.models.MLModel(str(bundle.model_path), skip_model_load=True).get_spec()
    assert spec.description.input[0].type.WhichOneof("Type") == "imageType"
    assert spec.description.predictedFeatureName == "classLabel"
    (image,), (label, scores) = bundle.manifest.inputs, bundle.manifest.outputs
    assert (image.kind, image.shape, image.dtype) == ("image", (1, 3, 32, 32), "uint8")
    assert [label.name, scores.name] == [f.name for f in spec.description.output]
    assert (label.kind, scores.kind, scores.shape) == ("string", "dictionary", (1, 10))
    assert spec.description.predictedProbabilitiesName == scores.name
    assert bundle.manifest.arrays == (scores,)
    assert bundle.manifest.parity.on("photos").top1_agreement == 1.0


def test_labels_are_in_the_manifest_of_every_target(tmp_path: Path) -> None:
    """Only Core ML makes them part of its file; the others go on giving logits."""
    labels = tuple(f"digit {i}" for i in reversed(range(10)))
    (tmp_path / "labels.txt").write_bytes("\r\n".join(("\ufeff" + labels[0], *labels[1:])).encode())
    ended = run(
        "care-export", "-m", "networks:Classifier", "-r", "32", "-t", "all", "-w", "random:0",
        "--labels", "labels.txt", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = [Bundle.open(path) for path in find_bundles(tmp_path / "bundles")]
    assert {bundle.manifest.target for bundle in found} == {"coreml", "onnx", "executorch"}
    for bundle in found:
        assert bundle.manifest.labels == labels
        assert "labels" not in bundle.manifest.options
        if bundle.manifest.target != "coreml":
            assert bundle.manifest.outputs[0].name == "logits"


def test_labels_that_do_not_fit_stop_the_export(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {i}" for i in range(9)))
    ended = run(
        "care-export", "-m", "networks:tiny_care", "-r", "32", "-t", "onnx",
        "--labels", "labels.txt", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "--labels has 9 names for the 10 classes of networks:tiny_care" in ended.stderr
    assert not list((tmp_path / "bundles").iterdir())


def test_a_target_that_fails_does_not_lose_the_others(tmp_path: Path) -> None:
    """No partition allowed: ExecuTorch refuses, ONNX stands."""
    ended = run(
        "care-export", "-m", "networks:tiny_care", "-r", "32", "-t", "executorch", "-t", "onnx",
        "--max-partitions", "0", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    found = {b["target"]: b for b in json.loads(ended.stdout)["bundles"]}
    assert found["onnx"]["status"] == "verified"
    assert found["executorch"]["status"] == "failed"
    assert "partition" in found["executorch"]["failure"]["message"]
    assert [p.name for p in (tmp_path / "bundles").iterdir()] == ["tiny_care-onnx-fp32-32x32"]


def test_failed_parity_keeps_no_bundle_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from care_mobile.export import parity
    from care_mobile.export.pipeline import export_bundles
    from care_mobile.export.request import ExportRequest
    from care_mobile.inputs import Resolution

    monkeypatch.setitem(
        parity.THRESHOLDS,
        ("onnx", "fp32"),
        {"ordinary": parity.Threshold(190.0, 1e-12), "extreme": parity.Threshold(None)},
    )
    request = ExportRequest(
        models=("networks:tiny_care",),
        targets=("onnx",),
        resolutions=(Resolution(width=32, height=32),),
        output=tmp_path,
    )
    report = export_bundles(request)
    assert report.exit_code == 3
    assert report.bundles[0].status.value == "parity-failed"
    assert not list(tmp_path.iterdir())
    kept = export_bundles(request.model_copy(update={"keep_failed": True}))
    assert kept.exit_code == 3
    assert (tmp_path / "tiny_care-onnx-fp32-32x32" / MANIFEST).is_file()
    assert Bundle.open(tmp_path / "tiny_care-onnx-fp32-32x32").manifest.parity.status == "failed"


def test_weights_as_the_factory_built_them(tmp_path: Path) -> None:
    import onnxruntime as ort
    from networks import trained

    ended = run(
        "care-export", "-m", "networks:trained", "-r", "32", "-t", "onnx", "-w", "as-built",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (network,) = json.loads(ended.stdout)["networks"]
    assert (network["weights"], network["random_weights"]) == ("as-built", False)
    session = ort.InferenceSession(tmp_path / "bundles" / "trained-onnx-fp32-32x32" / "model.onnx")
    x = np.ones((1, 3, 32, 32), np.float32)
    want = trained()(torch.from_numpy(x)).detach().numpy()
    assert np.abs(session.run(None, {"image": x})[0] - want).max() < 1e-4


def test_a_network_of_nan_is_refused_and_does_not_lose_the_others(tmp_path: Path) -> None:
    common = ["-r", "32", "-t", "onnx", "-w", "as-built"]
    alone = run("care-export", "-m", "networks:broken", *common, cwd=tmp_path)
    assert alone.returncode == 2
    assert alone.stdout == ""
    assert "networks:broken itself answers NaN at" in alone.stderr
    assert "on the probe set photos" in alone.stderr
    assert "features.0.weight is not finite" in alone.stderr
    assert not list((tmp_path / "bundles").iterdir()) if (tmp_path / "bundles").exists() else True
    ended = run(
        "care-export", "-m", "networks:broken", "-m", "networks:trained", *common, "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    first, second = json.loads(ended.stdout)["bundles"]
    assert (first["status"], first["path"]) == ("failed", None)
    assert "answers NaN" in first["failure"]["message"]
    assert second["status"] == "verified"
    assert [p.name for p in (tmp_path / "bundles").iterdir()] == ["trained-onnx-fp32-32x32"]


PARTICULAR = {
    "instance_norm": ([], []),
    "highpass": ([], ["constant"]),
    "attention_less_itself": ([], ["constant"]),
    "sharp": ([], ["large-range"]),
    "bounded": (["large-range"], []),
    "overflowing": (["large-range"], []),
    "fixed_mask": ([], []),
}
OF_PIXELS = {
    name: (["large-range"], ["seeded"])
    for name in ("gamma", "pixel_lookup", "one_hot", "unit_range")
}


@pytest.mark.parametrize(
    ("networks", "options"), [(PARTICULAR, ""), (OF_PIXELS, "--mean 0,0,0 --std 1,1,1")]
)
def test_probes_that_say_little_fail_nobody(
    networks: dict[str, tuple[list[str], list[str]]], options: str, tmp_path: Path
) -> None:
    """Network -> probe sets left out, and some of those of which something must be said."""
    models = [part for name in networks for part in ("-m", f"probed:{name}")]
    ended = run(
        "care-export", *models, "-r", "32", "-t", "onnx", "-w", "as-built", *options.split(),
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr + ended.stdout
    for name, (left_out, noted) in networks.items():
        parity = Bundle.open(tmp_path / "bundles" / f"{name}-onnx-fp32-32x32").manifest.parity
        assert parity.status == "verified", name
        assert list(parity.left_out) == left_out, name
        assert set(noted) <= {result.probes for result in parity.results if result.note}, name
    assert "large-range left out: the network itself" in " ".join(ended.stdout.split())
