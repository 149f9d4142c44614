"""What an export puts beside the model, so that answers can be judged wherever it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifests import manifest_of
from numpy.typing import NDArray

from care_mobile.answers import (
    AnswerCheck,
    Sampled,
    judge_answers,
    probe_inputs,
    read_tensor,
    reference_outputs,
)
from care_mobile.bundle import Bundle, TensorSpec, write_manifest
from care_mobile.export import stored_probes
from care_mobile.export.parity import THRESHOLDS, limit_of
from care_mobile.export.stored_probes import MAX_OUTPUT_ELEMENTS, Stored, as_reached, store
from care_mobile.probes import AnswerLimit, Probe
from care_mobile.runtimes import RuntimeOptions, get_runtime

from .commands import run

RNG = np.random.default_rng(0)
IMAGE = TensorSpec(name="image", shape=(None, 3, 8, 8))
LOGITS = TensorSpec(name="logits", shape=(None, 5))
FP32, FP16 = THRESHOLDS["onnx", "fp32"], THRESHOLDS["onnx", "fp16"]

Stack = NDArray[Any]


def noise(*shape: int) -> Stack:
    return RNG.standard_normal(shape).astype(np.float32)


ASKED = {"photos": [noise(2, 3, 8, 8)], "seeded": [noise(4, 3, 8, 8)], "zeros": [noise(1, 3, 8, 8)]}
ANSWERS = {"photos": [noise(2, 5)], "seeded": [noise(4, 5)], "zeros": [noise(1, 5)]}


def stored(
    folder: Path,
    outputs: tuple[TensorSpec, ...] = (LOGITS,),
    reference: dict[str, list[Stack]] | None = None,
    inputs: tuple[TensorSpec, ...] = (IMAGE,),
    asked: dict[str, list[Stack]] | None = None,
    table: Any = FP32,
) -> tuple[Bundle, Stored]:
    """A bundle with stored probes, as it is read afterwards."""
    found = store(folder, inputs, outputs, asked or ASKED, reference or ANSWERS, table)
    (folder / "model.onnx").touch()
    manifest = manifest_of(
        folder, inputs=inputs, outputs=outputs, probes=found.probes, probes_left_out=found.left_out
    )
    write_manifest(folder, manifest)
    return Bundle.open(folder), found


def of_photos(*stacks: Stack) -> dict[str, list[Stack]]:
    return {"photos": list(stacks), "seeded": [stack.repeat(2, axis=0) for stack in stacks]}


def test_the_first_photo_and_the_first_noise_are_stored(tmp_path: Path) -> None:
    bundle, _ = stored(tmp_path)
    assert [probe.name for probe in bundle.manifest.probes] == ["photos", "seeded"]
    for probe in bundle.manifest.probes:
        np.testing.assert_array_equal(
            probe_inputs(bundle, probe)["image"], ASKED[probe.name][0][:1]
        )
        np.testing.assert_array_equal(
            reference_outputs(bundle, probe)["logits"], ANSWERS[probe.name][0][:1]
        )
        (limit,) = probe.limits
        threshold = limit_of(FP32, probe.name)
        assert (limit.min_psnr_db, limit.max_abs) == (threshold.min_psnr_db, threshold.max_abs)
        assert limit.differing == threshold.differing
        assert limit.peak == np.abs(ANSWERS[probe.name][0]).max()
    assert bundle.size_bytes == 0


def test_outputs_have_the_shapes_that_the_bundle_gives(tmp_path: Path) -> None:
    """With a batch, without one, a scalar, whole numbers and truth values."""
    outputs = (
        TensorSpec(name="map", shape=(None, 2, 4)),
        TensorSpec(name="constant", shape=(6, 4)),
        TensorSpec(name="scalar", shape=()),
        TensorSpec(name="indices", shape=(1, 3), dtype="int32"),
        TensorSpec(name="mask", shape=(1, 3), dtype="int32"),
    )
    indices = np.array([[1, 2, 3]] * 2)
    stacks = (noise(2, 2, 4), noise(2, 6, 4), noise(2), indices, indices > 1)
    bundle, _ = stored(tmp_path, outputs, of_photos(*stacks))
    found = reference_outputs(bundle, bundle.manifest.probes[0])
    assert {n: a.shape for n, a in found.items()} == {
        "map": (1, 2, 4), "constant": (6, 4), "scalar": (), "indices": (1, 3), "mask": (1, 3)
    }  # fmt: skip
    assert [str(a.dtype) for a in found.values()] == ["float32"] * 3 + ["int64", "bool"]
    for array, stack in zip(found.values(), stacks, strict=True):
        np.testing.assert_array_equal(array.ravel(), stack[0].ravel())


def test_inputs_are_as_the_bundle_takes_them(tmp_path: Path) -> None:
    """Pixels as whole floats, half precision, tokens: whatever inputs a network has."""
    inputs = (
        TensorSpec(name="image", shape=(1, 3, 8, 8), dtype="uint8", kind="image"),
        TensorSpec(name="half", shape=(1, 7), dtype="float16"),
        TensorSpec(name="tokens", shape=(1, 4), dtype="int64"),
    )
    pixels = np.rint(255 * RNG.random((1, 3, 8, 8))).astype(np.float32)
    asked = of_photos(pixels, noise(1, 7), np.arange(4)[None])
    bundle, _ = stored(tmp_path, inputs=inputs, asked=asked)
    found = probe_inputs(bundle, bundle.manifest.probes[0])
    assert [str(a.dtype) for a in found.values()] == ["float32", "float16", "int64"]
    np.testing.assert_array_equal(found["image"], pixels)
    np.testing.assert_array_equal(found["half"], asked["photos"][1].astype(np.float16))


def test_large_outputs_are_sampled_where_a_harness_samples(tmp_path: Path) -> None:
    maps = noise(1, 3, 200, 301)
    spec = (TensorSpec(name="map", shape=(1, 3, 200, 301)),)
    bundle, _ = stored(tmp_path, spec, of_photos(maps))
    probe = bundle.manifest.probes[0]
    (tensor,) = probe.outputs
    assert tensor.stride == 11  # 3 to 10 have divisors in common with 180,600
    assert tensor.count <= MAX_OUTPUT_ELEMENTS
    reference = reference_outputs(bundle, probe)
    whole = judge_answers(probe, reference, {"map": maps})
    assert whole.passed
    assert (whole.partial, whole.values) == (True, tensor.count)
    sampled = judge_answers(probe, reference, {"map": Sampled(maps.ravel()[::11], 11)})
    assert sampled == whole
    assert not judge_answers(probe, reference, {"map": maps[..., ::-1]}).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_leaves_its_probe_out(tmp_path: Path, value: float) -> None:
    answers = {name: [stack.copy() for stack in stacks] for name, stacks in ANSWERS.items()}
    answers["photos"][0][0, 1] = value
    bundle, _ = stored(tmp_path, reference=answers)
    assert [probe.name for probe in bundle.manifest.probes] == ["seeded"]
    assert bundle.manifest.probes_left_out == {
        "photos": "output 'logits' of the network is not finite"
    }
    assert not list((tmp_path / "probes").glob("photos*"))


def test_what_does_not_fit_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_probes, "MAX_BYTES", 1000)
    bundle, _ = stored(tmp_path)
    assert [probe.name for probe in bundle.manifest.probes] == ["photos"]
    (why,) = bundle.manifest.probes_left_out.values()
    assert why == "has 788 bytes, where 212 of 1000 are left"


def test_what_half_precision_cannot_hold_is_no_input(tmp_path: Path) -> None:
    half = (IMAGE.model_copy(update={"dtype": "float16"}),)
    asked = {"photos": [ASKED["photos"][0] * 1e6], "seeded": ASKED["seeded"]}
    bundle, _ = stored(tmp_path, inputs=half, asked=asked)
    assert bundle.manifest.probes_left_out == {"photos": "input 'image' is not finite in float16"}


def test_a_set_that_the_network_was_not_asked(tmp_path: Path) -> None:
    _, found = stored(tmp_path, asked={"seeded": ASKED["seeded"]})
    assert found.left_out == {"photos": "the network was not asked it"}


# Limits that hold for a bundle which was verified.


def reached(tmp_path: Path, answered: list[Stack], **given: Any) -> tuple[Bundle, Probe]:
    bundle, found = stored(tmp_path, **given)
    outputs = {"photos": answered, "seeded": [stack.repeat(2, axis=0) for stack in answered]}
    return bundle, as_reached(bundle, found.probes, outputs)[0]


def verdict(bundle: Bundle, probe: Probe, *answers: Stack) -> AnswerCheck:
    named = {t.name: a[:1].reshape(t.shape) for t, a in zip(probe.outputs, answers, strict=True)}
    return judge_answers(probe, reference_outputs(bundle, probe), named)


def test_a_limit_that_is_kept_stays(tmp_path: Path) -> None:
    bundle, probe = reached(tmp_path, [ANSWERS["photos"][0] + np.float32(1e-7)])
    assert probe == bundle.manifest.probes[0]


def test_a_limit_follows_what_rounding_explained(tmp_path: Path) -> None:
    step = np.float32(3e-4)
    bundle, probe = reached(tmp_path, [ANSWERS["photos"][0] + step])
    (limit,) = probe.limits
    assert limit.min_psnr_db is not None
    assert 60.0 < limit.min_psnr_db < 90.0
    assert limit.note.endswith("the limit of the precision is 90 dB")
    assert verdict(bundle, probe, ANSWERS["photos"][0] - np.float32(1.9) * step).passed
    assert not verdict(bundle, probe, ANSWERS["photos"][0] + np.float32(2.1) * step).passed


def test_a_limit_where_the_answer_is_zero(tmp_path: Path) -> None:
    zero = np.zeros((1, 5), np.float32)
    bundle, probe = reached(tmp_path, [zero + np.float32(1e-7)], reference=of_photos(zero))
    assert verdict(bundle, probe, zero - np.float32(1.9e-7)).passed
    assert not verdict(bundle, probe, zero + np.float32(1e-3)).passed


def test_a_limit_of_tied_whole_numbers(tmp_path: Path) -> None:
    spec = (TensorSpec(name="indices", shape=(1, 100), dtype="int64"),)
    indices = np.arange(100)[None]
    have = indices.copy()
    have[0, :10] = 0
    bundle, probe = reached(
        tmp_path, [have], outputs=spec, reference=of_photos(indices), table=FP16
    )
    assert probe.limits[0].differing == pytest.approx(0.18)
    assert verdict(bundle, probe, have).passed
    have[0, :60] = -1
    assert not verdict(bundle, probe, have).passed


def test_only_the_output_that_needs_it_is_judged_less_strictly(tmp_path: Path) -> None:
    outputs = (LOGITS, LOGITS.model_copy(update={"name": "other"}))
    stack = ANSWERS["photos"][0]
    _, probe = reached(
        tmp_path,
        [stack, stack + np.float32(1e-3)],
        outputs=outputs,
        reference=of_photos(stack, stack),
    )
    assert [bool(limit.note) for limit in probe.limits] == [False, True]


def test_what_is_no_distance_widens_nothing(tmp_path: Path) -> None:
    _, probe = reached(tmp_path, [ANSWERS["photos"][0] * np.nan])
    assert probe.limits == (AnswerLimit(
        min_psnr_db=90.0, max_abs=1e-4, differing=1e-4, peak=probe.limits[0].peak
    ),)  # fmt: skip


# As a user exports.

TRAINED = ["-m", "networks:trained", "-r", "32", "-o", "out"]


def answers_here(bundle: Bundle, runtime: str, probe: Probe) -> AnswerCheck:
    session = get_runtime(runtime).load(bundle, RuntimeOptions())
    outputs = session.run(probe_inputs(bundle, probe))
    named = {s.name: o for s, o in zip(bundle.manifest.arrays, outputs, strict=True)}
    return judge_answers(probe, reference_outputs(bundle, probe), named)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed")
    targets = ["-t", "coreml", "-t", "onnx", "-p", "fp16"]
    for again in ("out", "again"):
        words = [*TRAINED[:-1], again]
        ended = run("care-export", *words, *targets, "--json", cwd=folder)
        assert ended.returncode == 0, ended.stderr
    (folder / "labels.txt").write_text("\n".join("abcdefghij"))
    image = ["-t", "coreml", "--image-input", "--input-range", "0..255", "--labels", "labels.txt"]
    ended = run("care-export", *TRAINED[:-1], "image", *image, "--json", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("out/trained-onnx-fp16-32x32", "onnxruntime"),
        ("out/trained-coreml-fp16-32x32", "coreml-interpreter"),
        ("image/trained-coreml-fp16-32x32", "coreml-interpreter"),
    ],
)
def test_a_bundle_answers_its_own_probes_and_no_others(
    exported: Path, name: str, runtime: str
) -> None:
    bundle = Bundle.open(exported / name)
    photos, seeded = bundle.manifest.probes
    for probe in (photos, seeded):
        found = answers_here(bundle, runtime, probe)
        assert found.passed, found.note
        assert found.top1_same
        assert found.psnr_db is not None
        assert found.psnr_db > 50
    swapped = photos.model_copy(update={"inputs": seeded.inputs})
    assert not answers_here(bundle, runtime, swapped).passed


def test_pixels_are_whole_and_labels_are_left_out(exported: Path) -> None:
    bundle = Bundle.open(exported / "image/trained-coreml-fp16-32x32")
    for probe in bundle.manifest.probes:
        (pixels,) = probe_inputs(bundle, probe).values()
        assert pixels.dtype == np.float32
        assert np.array_equal(pixels, np.rint(pixels))
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        (tensor,) = probe.outputs
        assert tensor.name == "classLabel_probs"
        assert read_tensor(bundle, tensor).sum() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("target", ["coreml", "onnx"])
def test_the_same_network_is_the_same_content(exported: Path, target: str) -> None:
    one, two = (
        Bundle.open(exported / folder / f"trained-{target}-fp16-32x32")
        for folder in ("out", "again")
    )
    assert one.manifest.content_sha256 == two.manifest.content_sha256
    for name in one.manifest.files:
        assert one.file(name).read_bytes() == two.file(name).read_bytes(), name


def test_the_report_names_the_content(exported: Path) -> None:
    ended = run("care-inspect", "out/trained-onnx-fp16-32x32", "--json", cwd=exported)
    facts = json.loads(ended.stdout)["bundle_facts"]
    bundle = Bundle.open(exported / "out/trained-onnx-fp16-32x32")
    assert facts == {
        "content_sha256": bundle.manifest.content_sha256,
        "probes": ["photos", "seeded"],
        "probes_left_out": {},
    }
