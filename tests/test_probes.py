"""Probes in a bundle: what a manifest may say of them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifests import manifest_of, put_probe
from test_bundle import VALUES

from care_mobile.answers import probe_inputs, read_tensor, reference_outputs
from care_mobile.bundle import MANIFEST, Bundle, TensorSpec, digest, write_manifest, writing
from care_mobile.errors import BundleError
from care_mobile.probes import TensorFile

WriteBundle = Callable[..., Path]


def forge(path: Path, change: Callable[[dict[str, Any]], None]) -> BundleError:
    """The error of a bundle whose manifest is changed and sealed anew."""
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content | {"integrity": digest(content)}))
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message.removeprefix(str(path))) < 500
    return caught.value


def output(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["probes"][0]["outputs"][0]
    return found


def entry(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["files"]["probes/seeded-logits.bin"]
    return found


def test_tensors_come_back_as_they_were(write_bundle: WriteBundle) -> None:
    bundle = Bundle.open(write_bundle(probed=True))
    (probe,) = bundle.manifest.probes
    (image,) = probe_inputs(bundle, probe).values()
    (logits,) = reference_outputs(bundle, probe).values()
    assert image.shape == (1, 3, 8, 8)
    np.testing.assert_array_equal(logits, np.maximum(image, 0))
    assert bundle.size_bytes == len(b"no model")


KINDS = ["bool", "int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", KINDS)
def test_every_element_type_is_little_endian_in_c_order(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    array = (100 * rng.standard_normal((2, 3, 4))).astype(dtype)
    image = np.zeros((1, 3, 8, 8), np.float32)
    with writing(tmp_path / "b") as partial:
        (partial / "model.onnx").touch()
        given = array.transpose(2, 0, 1).astype(np.dtype(dtype).newbyteorder(">"))
        probe = put_probe(partial, outputs={"logits": given.astype(dtype).transpose(1, 2, 0)})
        outputs = (TensorSpec(name="logits", shape=(None, 3, 4), dtype=dtype),)
        write_manifest(partial, manifest_of(partial, probes=(probe,), outputs=outputs))
    bundle = Bundle.open(tmp_path / "b")
    tensor = bundle.manifest.probes[0].outputs[0]
    np.testing.assert_array_equal(read_tensor(bundle, tensor), array)
    assert read_tensor(bundle, tensor).dtype == dtype
    raw = bundle.file(tensor.file).read_bytes()
    little = np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(np.frombuffer(raw, little), array.ravel())
    assert image.size  # the input is checked above


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: output(m).update(file="../outside"), "lies in probes/"),
        (lambda m: output(m).update(file="/etc/hostname"), "lies in probes/"),
        (lambda m: output(m).update(file="probes/../../outside"), "is not among the files"),
        (lambda m: output(m).update(file="model.onnx"), "lies in probes/"),
        (lambda m: output(m).update(file="probes/absent.bin"), "is not among the files"),
        (lambda m: output(m).update(file="probes/" + "n" * 5000), "at most 1024 characters"),
        (lambda m: output(m).update(dtype="quaternion"), "no type of numbers"),
        (lambda m: output(m).update(dtype="float64"), "has 768 bytes, not 1536"),
        (lambda m: output(m).update(dtype="int32"), "is not what the bundle gives"),
        (lambda m: output(m).update(shape=[2**31 - 1] * 4), "at most"),
        (lambda m: output(m).update(shape=[10**400]), "probes.0.outputs.0.shape"),
        (lambda m: output(m).update(shape=[1, -1, 8, 8]), "probes.0.outputs.0.shape"),
        (lambda m: output(m).update(shape=[1] * 5000), "probes.0.outputs.0.shape"),
        (lambda m: output(m).update(shape=[192]), "is not what the bundle gives"),
        (lambda m: output(m).update(name="other"), "an output that the bundle has not"),
        (lambda m: output(m).update(stride=0), "stride"),
        (lambda m: output(m).update(stride=3), "has 768 bytes, not 256"),
        (lambda m: output(m).update(name="a\x1b[2J"), "control characters"),
        (lambda m: m["probes"][0]["inputs"][0].update(name="x"), "other inputs"),
        (lambda m: m["probes"][0].update(inputs=[]), "probes.0.inputs"),
        (lambda m: m["probes"][0].update(outputs=[], limits=[]), "probes.0.outputs"),
        (lambda m: m["probes"][0].update(limits=[]), "one limit for each output"),
        (lambda m: m["probes"][0]["limits"][0].update(min_psnr_db="NaN"), "min_psnr_db"),
        (lambda m: m["probes"][0]["limits"][0].update(peak=-1.0), "peak"),
        (lambda m: m["probes"][0]["limits"][0].update(differing=2.0), "differing"),
        (lambda m: m.update(probes=m["probes"] * 100), "probes"),
        (lambda m: entry(m).update(size_bytes=3), "has 3 bytes, not 768"),
        (lambda m: m["files"].update({"probes/../../x": entry(m)}), "leaves the bundle"),
        (lambda m: m.update(model_file="probes/seeded-logits.bin"), "content_sha256"),
    ],
)  # fmt: skip
def test_a_forged_probe_is_one_short_line(
    write_bundle: WriteBundle, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    path = write_bundle(probed=True)
    (path.parent / "outside").write_bytes(b"0" * 768)
    assert says in str(forge(path, change))


def test_a_model_among_the_probes(write_bundle: WriteBundle) -> None:
    def change(content: dict[str, Any]) -> None:
        content.update(model_file="probes/seeded-logits.bin", content_sha256="")

    assert "lies among the probes" in str(forge(write_bundle(probed=True), change))


@pytest.mark.parametrize("content", [None, b"", b"0" * 767, b"0" * 768, b"0" * 769])
def test_a_probe_that_is_missing_cut_off_or_altered(
    write_bundle: WriteBundle, content: bytes | None
) -> None:
    path = write_bundle(probed=True)
    opened = Bundle.open(path)
    file = path / "probes" / "seeded-logits.bin"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BundleError, match="is missing" if content is None else "not the file"):
        Bundle.open(path)
    with pytest.raises(BundleError):  # after it was opened, too
        read_tensor(opened, opened.manifest.probes[0].outputs[0])


def test_a_link_in_place_of_a_probe(write_bundle: WriteBundle) -> None:
    path = write_bundle(probed=True)
    opened = Bundle.open(path)
    file = path / "probes" / "seeded-logits.bin"
    file.rename(path.parent / "outside")
    file.symlink_to(path.parent / "outside")
    with pytest.raises(BundleError, match="symbolic link"):
        Bundle.open(path)
    with pytest.raises(BundleError, match="symbolic link"):
        read_tensor(opened, opened.manifest.probes[0].outputs[0])


def test_a_tensor_that_no_manifest_lists(write_bundle: WriteBundle) -> None:
    bundle = Bundle.open(write_bundle(probed=True))
    other = TensorFile(name="x", dtype="int8", shape=(1,), file="probes/other")
    with pytest.raises(BundleError, match="is not listed"):
        read_tensor(bundle, other)


@given(
    field=st.sampled_from(sorted(TensorFile.model_fields)),
    kind=st.sampled_from(["inputs", "outputs"]),
    value=VALUES,
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_tensor_says_it_is_read_or_refused(
    write_bundle: WriteBundle, field: str, kind: str, value: object
) -> None:
    path = write_bundle(probed=True)
    content = json.loads((path / MANIFEST).read_text())
    content["probes"][0][kind][0][field] = value
    (path / MANIFEST).write_text(json.dumps(content | {"integrity": digest(content)}))
    try:
        bundle = Bundle.open(path)
    except BundleError:
        return
    for probe in bundle.manifest.probes:
        for tensor in probe.tensors:
            assert read_tensor(bundle, tensor).nbytes == tensor.size_bytes
