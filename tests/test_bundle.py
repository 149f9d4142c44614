from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifests import manifest_of

from care_mobile import bundle as bundle_module
from care_mobile.bundle import (
    MANIFEST,
    Bundle,
    FileEntry,
    Manifest,
    Parity,
    ProbeResult,
    TensorSpec,
    check_output_folder,
    check_replaceable,
    content_digest,
    digest,
    file_sha256,
    find_bundles,
    list_files,
    read_manifest,
    write_manifest,
    writing,
)
from care_mobile.errors import BundleError, OutputError
from care_mobile.tensors import elements

WriteBundle = Callable[..., Path]


def refusal(path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    return caught.value


def change(path: Path, seal: bool = False, **fields: Any) -> None:
    """Rewrite fields of the manifest, with a fresh seal or without."""
    file = path / MANIFEST
    content = json.loads(file.read_text()) | fields
    if seal:
        content = Manifest.model_validate_json(json.dumps(content)).sealed().model_dump(mode="json")
    file.write_text(json.dumps(content))


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Reading.


def test_round_trip(write_bundle: WriteBundle) -> None:
    probe = ProbeResult(
        probes="zeros", count=1, max_abs=0.0, psnr_db=math.inf, cosine=1.0, passed=True
    )
    parity = Parity(status="verified", thresholds={"psnr_db": 60.0}, results=(probe,))
    inputs = (TensorSpec(name="image", shape=(None, 3, 8, 8), kind="image"),)
    path = write_bundle(content=b"12345", parity=parity, inputs=inputs, options={"opset": 20})
    bundle = Bundle.open(path)
    assert bundle.manifest.parity == parity
    assert bundle.manifest.inputs == inputs
    assert bundle.manifest == read_manifest(path)
    assert (bundle.name, bundle.size_bytes) == ("tiny", 5)
    assert bundle.model_path.read_bytes() == b"12345"
    assert bundle.manifest.files == {
        "model.onnx": FileEntry(sha256=file_sha256(path / "model.onnx"), size_bytes=5)
    }


def test_a_model_may_be_a_folder(tmp_path: Path) -> None:
    with writing(tmp_path / "b") as partial:
        (partial / "m.mlpackage" / "Data").mkdir(parents=True)
        (partial / "m.mlpackage" / "Data" / "weights.bin").write_bytes(b"123")
        (partial / "m.mlpackage" / "Manifest.json").write_bytes(b"{}")
        write_manifest(partial, manifest_of(partial, model_file="m.mlpackage"))
    bundle = Bundle.open(tmp_path / "b")
    assert sorted(bundle.manifest.files) == [
        "m.mlpackage/Data/weights.bin",
        "m.mlpackage/Manifest.json",
    ]
    assert bundle.model_path.is_dir()
    assert bundle.size_bytes == 5


def test_hash_of_a_long_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a" * (1 << 20) + b"b")
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"a" * (1 << 20) + b"b").hexdigest()


@pytest.mark.parametrize("field", sorted(Manifest.model_fields.keys() - {"integrity"}))
def test_a_seal_covers_every_field(field: str) -> None:
    manifest = manifest_of(Path("absent")).sealed()
    assert manifest.integrity == digest(manifest.model_dump(mode="json"))
    altered = manifest.model_copy(update={field: "something else"})
    assert manifest.integrity != digest(altered.model_dump(mode="json"))


def test_not_a_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        assert "is not a bundle" in str(refusal(path))
    (tmp_path / "file").touch()
    assert "is not a bundle" in str(refusal(tmp_path / "file"))


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "care_s9"},
        {"weights": {"source": "real.pth", "random": False, "sha256": None, "entry": None}},
        {"integrity": ""},
        {"integrity": "0" * 64},
    ],
)
def test_an_altered_value(write_bundle: WriteBundle, fields: dict[str, Any]) -> None:
    path = write_bundle()
    change(path, **fields)
    assert "was altered" in str(refusal(path))


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"note": "mine"}, "note"),
        ({"schema_version": 2}, "schema_version"),
        ({"parameters": "many"}, "parameters"),
        ({"preprocessing": {"resolution": {"width": 0, "height": 8}}}, "preprocessing"),
        ({"parity": {"status": "fine"}}, "parity.status"),
    ],
)
def test_a_manifest_of_another_form(
    write_bundle: WriteBundle, fields: dict[str, Any], where: str
) -> None:
    path = write_bundle()
    change(path, **fields)
    error = refusal(path)
    assert f"{MANIFEST}: {where}" in str(error)
    assert "care-export" in error.hint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100000])
def test_a_manifest_that_is_no_json_object(write_bundle: WriteBundle, content: bytes) -> None:
    path = write_bundle()
    (path / MANIFEST).write_bytes(content)
    refusal(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), (b"no mode", "not the file"), (b"nO model", "not the file")],
)
def test_a_missing_short_or_altered_model(
    write_bundle: WriteBundle, content: bytes | None, message: str
) -> None:
    path = write_bundle(content=b"no model")
    if content is None:
        (path / "model.onnx").unlink()
    else:
        (path / "model.onnx").write_bytes(content)
    assert message in str(refusal(path))


def test_a_folder_in_place_of_the_model(write_bundle: WriteBundle) -> None:
    path = write_bundle()
    (path / "model.onnx").unlink()
    (path / "model.onnx").mkdir()
    assert "is missing" in str(refusal(path))


@pytest.mark.parametrize("target", ["file_sha256", "read"])
def test_an_unreadable_file(
    write_bundle: WriteBundle, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    path = write_bundle()

    def denied(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    if target == "read":
        monkeypatch.setattr(Path, "read_bytes", denied)
    else:
        monkeypatch.setattr(bundle_module, "file_sha256", denied)
    error = refusal(path)
    assert "Permission denied" in str(error)
    assert "permissions" in error.hint


# Hostile manifests. Each is sealed, as whoever forges one can do.


def forge(path: Path, **fields: Any) -> None:
    """Fields of the manifest as they are, whatever they are, under a fresh seal."""
    file = path / MANIFEST
    content = json.loads(file.read_text()) | fields
    file.write_text(json.dumps(content | {"integrity": digest(content)}))


def tensor(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "image", "shape": [1, 3, 8, 8], "dtype": "float32", "kind": "tensor"} | fields]


@pytest.mark.parametrize(
    "fields",
    [
        {"inputs": tensor(shape=[10**18] * 4)},
        {"inputs": tensor(shape=[1, -3, 8, 8])},
        {"inputs": tensor(shape=[1] * 5000)},
        {"inputs": tensor(shape=[2**30, 2**30])},
        {"inputs": tensor(shape=[2**29])},
        {"inputs": tensor(shape=[10**400])},
        {"outputs": tensor(shape=[2**31 - 1, 2**31 - 1])},
        {"inputs": tensor(dtype="quaternion")},
        {"inputs": tensor(dtype="O")},
        {"inputs": tensor(dtype="float32, float32")},
        {"outputs": tensor(dtype="\x1b[2J")},
        {"inputs": tensor(name="a\x1b[2J")},
        {"inputs": tensor(name="n" * 300)},
        {"model": "a\nb"},
        {"target": "\x1b]0;title\x07"},
        {"parameters": -1},
        {"macs": 10**400},
        {"files": {"model.onnx": {"sha256": "0" * 64, "size_bytes": 10**30}}},
        {"files": {"n" * 300: {"sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"n/" * 3000 + "f": {"sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"a\0b": {"sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"a\x1b[2Jb": {"sha256": "0" * 64, "size_bytes": 1}}},
        {"model_file": "n" * 300},
        {"model_file": "a\0b"},
        {"created": "1e999"},
        {"options": {"deep": json.loads("[" * 500 + "]" * 500)}},
    ],
)
def test_a_forged_manifest_is_one_short_line(
    write_bundle: WriteBundle, fields: dict[str, Any]
) -> None:
    path = write_bundle()
    forge(path, **fields)
    message = str(refusal(path)).removeprefix(str(path))
    assert len(message) < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"interpolation": "BEST"},
        {"crop_fraction": 0.0},
        {"crop_fraction": 1e-300},
        {"crop_fraction": math.nan},
        {"mean": [0.5] * 5000, "std": [0.5] * 5000},
    ],
)
def test_a_forged_preprocessing(write_bundle: WriteBundle, fields: dict[str, Any]) -> None:
    path = write_bundle()
    preprocessing = json.loads((path / MANIFEST).read_text())["preprocessing"]
    forge(path, preprocessing=preprocessing | fields)
    assert "preprocessing" in str(refusal(path))


def test_a_manifest_that_is_larger_than_any(
    write_bundle: WriteBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle()
    monkeypatch.setattr(bundle_module, "MAX_MANIFEST_BYTES", 100)
    assert "larger than 100 bytes" in str(refusal(path))


def test_more_files_than_any_bundle_has(
    write_bundle: WriteBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle()
    monkeypatch.setattr(bundle_module, "MAX_FILES", 0)
    assert "more than 0 files" in str(refusal(path))


def test_a_path_that_no_file_system_has(tmp_path: Path) -> None:
    assert "File name too long" in str(refusal(tmp_path / ("n" * 300)))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from([10**400, -(2**63), "\x1b[2J", "a\0", "n" * 5000, "../x", math.inf]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=300), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(field=st.sampled_from(sorted(Manifest.model_fields)), value=VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_field_holds_a_bundle_opens_or_is_refused(
    write_bundle: WriteBundle, field: str, value: object
) -> None:
    path = write_bundle()
    forge(path, **{field: value})
    try:
        bundle = Bundle.open(path)
    except BundleError as error:
        assert len(str(error)) < 5000  # noqa: PT017
    else:
        assert sum(elements(spec.shape) for spec in bundle.manifest.inputs) <= 4 * 2**28


# What is run.


def run_files(**files: str) -> dict[str, FileEntry]:
    named = {name.replace("__", "/"): text.encode() for name, text in files.items()}
    return {
        name: FileEntry(sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
        for name, text in named.items()
    }


def test_the_worked_example_of_the_document() -> None:
    document = (Path(__file__).parents[1] / "docs" / "bundles.md").read_text(encoding="utf-8")
    example = document.partition("## Content")[2].partition("\n## ")[0]
    form = example.partition("```text\n")[2].partition("```")[0]
    files = {
        "model.mlpackage/Manifest.json": "{}",
        "model.mlpackage/Data/weight.bin": "abc",
        "probes/photos-image.bin": "0123",
    }
    entries = {
        name: FileEntry(sha256=hashlib.sha256(text.encode()).hexdigest(), size_bytes=len(text))
        for name, text in files.items()
    }
    digested = hashlib.sha256(form.encode()).hexdigest()
    assert f"`{digested}`" in example
    assert content_digest("model.mlpackage", entries) == digested


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not installed")
def test_the_command_of_the_document(tmp_path: Path) -> None:
    document = (Path(__file__).parents[1] / "docs" / "bundles.md").read_text(encoding="utf-8")
    command = document.partition("```sh\n{ echo model.mlpackage")[2].partition("```")[0]
    with writing(tmp_path / "b") as partial:
        for name in ("model.mlpackage/Manifest.json", "model.mlpackage/a b/w", "probes/x"):
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(name)
        written = write_manifest(partial, manifest_of(partial, model_file="model.mlpackage"))
    done = subprocess.run(
        ["sh", "-c", f"{{ echo model.mlpackage{command}"],
        cwd=tmp_path / "b", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == written.content_sha256


def test_probes_times_and_tools_are_no_content(write_bundle: WriteBundle) -> None:
    bare, probed = Bundle.open(write_bundle("a")), Bundle.open(write_bundle("b", probed=True))
    later = Bundle.open(write_bundle("c", tools={"torch": "9"}, created="2030-01-01T00:00:00Z"))
    assert bare.manifest.content_sha256 == probed.manifest.content_sha256
    assert bare.manifest.content_sha256 == later.manifest.content_sha256
    assert bare.manifest.integrity != later.manifest.integrity
    assert bare.size_bytes == probed.size_bytes


def test_other_files_names_and_models_are_other_content() -> None:
    files = run_files(a="1", b="2")
    known = {
        content_digest("a", files),
        content_digest("b", files),
        content_digest("a", run_files(a="1", b="3")),
        content_digest("a", run_files(a="1", c="2")),
        content_digest("a", run_files(a="1")),
        content_digest("a", run_files(a="2", b="1")),
    }
    assert len(known) == 6
    assert content_digest("a", dict(reversed(files.items()))) == content_digest("a", files)
    # By bytes, as every language can: not by UTF-16 units, not by a locale.
    names = sorted(["\ufb01", "\U0001f600", "Z", "a", "é"], key=str.encode)
    entries = {name: FileEntry(sha256="0" * 64, size_bytes=0) for name in names}
    text = "".join(f"{line}\n" for line in ["a", *(f"{'0' * 64}  {name}" for name in names)])
    shuffled = dict(reversed(entries.items()))
    assert content_digest("a", shuffled) == hashlib.sha256(text.encode()).hexdigest()


def test_a_manifest_that_lies_about_its_content(write_bundle: WriteBundle) -> None:
    path = write_bundle()
    for lie in ("0" * 64, "content"):
        forge(path, content_sha256=lie)
        assert "content_sha256 is not of the files" in str(refusal(path))


def test_older_manifests_read_and_get_their_content(write_bundle: WriteBundle) -> None:
    path = write_bundle()
    content = json.loads((path / MANIFEST).read_text())
    known = content["content_sha256"]
    for added in ("content_sha256", "probes", "probes_left_out"):
        del content[added]
    (path / MANIFEST).write_text(json.dumps(content | {"integrity": digest(content)}))
    manifest = Bundle.open(path).manifest
    assert manifest.content_sha256 == known
    assert manifest.probes == ()


# Paths that leave the folder.


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../outside", "..", "/etc/hostname", "..\\outside", "C:\\x", "", "."],
)
def test_paths_that_leave_the_folder(write_bundle: WriteBundle, name: str) -> None:
    path = write_bundle()
    (path.parent / "outside").write_bytes(b"no model")
    entry = json.loads((path / MANIFEST).read_text())["files"]["model.onnx"]
    change(path, seal=True, files={"model.onnx": entry, name: entry})
    assert "leaves the bundle" in str(refusal(path))
    change(path, seal=True, files={"model.onnx": entry}, model_file=name)
    refusal(path)


@given(
    name=st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", " "]), max_size=4).map("/".join)
)
def test_no_listed_path_is_opened_outside(tmp_path_factory: Any, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "bundle"
    try:
        inside = bundle_module._inside(folder, name)
    except BundleError:
        return
    assert os.path.normpath(inside).startswith(f"{folder}{os.sep}")


def test_a_link_in_place_of_the_model(write_bundle: WriteBundle) -> None:
    path = write_bundle()
    (path / "model.onnx").rename(path.parent / "outside")
    (path / "model.onnx").symlink_to(path.parent / "outside")
    assert "symbolic link" in str(refusal(path))


def test_a_link_in_place_of_a_folder_on_the_way(tmp_path: Path) -> None:
    with writing(tmp_path / "b") as partial:
        (partial / "m.mlpackage").mkdir()
        (partial / "m.mlpackage" / "weights.bin").write_bytes(b"123")
        write_manifest(partial, manifest_of(partial, model_file="m.mlpackage"))
    (tmp_path / "b" / "m.mlpackage").rename(tmp_path / "outside")
    (tmp_path / "b" / "m.mlpackage").symlink_to(tmp_path / "outside")
    assert "symbolic link" in str(refusal(tmp_path / "b"))


def test_the_model_file_must_be_listed(write_bundle: WriteBundle) -> None:
    path = write_bundle()
    (path / "other.onnx").write_bytes(b"slipped in")
    change(path, seal=True, model_file="other.onnx")
    assert "'other.onnx' is not listed" in str(refusal(path))


# Writing.


def test_a_bundle_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "b"
    with writing(path) as partial:
        assert partial.parent == path.parent
        (partial / "model.onnx").write_bytes(b"1")
        write_manifest(partial, manifest_of(partial))
        assert not path.exists()
        assert find_bundles(path.parent) == []
    Bundle.open(path)
    assert [p.name for p in path.parent.iterdir()] == ["b"]


def test_the_written_manifest_is_sealed_and_readable_by_people(write_bundle: WriteBundle) -> None:
    text = (write_bundle() / MANIFEST).read_text()
    assert text.startswith('{\n  "schema_version": 1,')
    assert text.endswith("}\n")
    assert len(json.loads(text)["integrity"]) == 64


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing_behind(
    write_bundle: WriteBundle, error: type[BaseException]
) -> None:
    path = write_bundle(content=b"earlier")
    for target in (path, path.parent / "new"):
        with pytest.raises(error), writing(target) as partial:  # noqa: PT012
            (partial / "model.onnx").write_bytes(b"half")
            raise error
    assert [p.name for p in path.parent.iterdir()] == ["tiny"]
    assert Bundle.open(path).model_path.read_bytes() == b"earlier"


def test_a_bundle_is_replaced_whole(write_bundle: WriteBundle) -> None:
    path = write_bundle(content=b"earlier")
    (path / "leftover").touch()
    write_bundle(content=b"later")
    assert Bundle.open(path).model_path.read_bytes() == b"later"
    assert listing(path.parent) == ["tiny", "tiny/manifest.json", "tiny/model.onnx"]


@pytest.mark.parametrize("failing", ["move aside", "move in"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_replacement_gives_the_earlier_bundle_back(
    write_bundle: WriteBundle,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    error: BaseException,
) -> None:
    path = write_bundle(content=b"earlier")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == path:
            moved = real(self, target)
            if failing == "move aside":  # interrupted just after it happened
                raise error
            return moved
        if "-new-" in self.name and failing == "move in":
            raise error
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_bundle(content=b"later")
    monkeypatch.undo()
    assert [p.name for p in path.parent.iterdir()] == ["tiny"]
    assert Bundle.open(path).model_path.read_bytes() == b"earlier"


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("precious")


def make_link(path: Path) -> None:
    (path.parent / "real").mkdir()
    (path.parent / "real" / MANIFEST).write_text("precious")
    path.symlink_to(path.parent / "real")


@pytest.mark.parametrize("make", [make_file, make_folder, make_link])
def test_anything_but_a_bundle_is_not_replaced(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "b")
    before = listing(tmp_path)
    with (
        pytest.raises(OutputError, match="exists and is not a bundle") as caught,
        writing(tmp_path / "b"),
    ):
        pytest.fail("nothing may be written")
    assert caught.value.exit_code == 1
    assert "--output" in caught.value.hint
    assert listing(tmp_path) == before
    with pytest.raises(OutputError):
        check_replaceable(tmp_path / "b")


def test_what_may_be_written(tmp_path: Path, write_bundle: WriteBundle) -> None:
    check_replaceable(tmp_path / "absent")
    check_replaceable(write_bundle())


def test_a_file_in_place_of_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with (
        pytest.raises(OutputError, match="cannot write to") as caught,
        writing(tmp_path / "out" / "b"),
    ):
        pytest.fail("there is no place to write to")
    assert "--output" in caught.value.hint
    with pytest.raises(OutputError, match="cannot write to"):
        check_output_folder(tmp_path / "out")
    with pytest.raises(OutputError, match="cannot write to"):
        check_output_folder(tmp_path / "out" / "deeper")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "--output")]
)
def test_a_disk_that_refuses(tmp_path: Path, number: int, hint: str) -> None:
    with pytest.raises(OutputError, match=os.strerror(number)) as caught, writing(tmp_path / "b"):
        raise OSError(number, os.strerror(number))
    assert hint in caught.value.hint
    assert listing(tmp_path) == []


@pytest.mark.parametrize("method", ["mkdir", "write_bytes"])
def test_a_read_only_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, method, denied)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output_folder(tmp_path / "out")


# What killed processes leave.


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_good_output_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "a" / "b")
    assert listing(tmp_path) == ["a", "a/b"]


KILLED = """
import os, sys
from pathlib import Path
from care_mobile.bundle import writing

path, moment = Path(sys.argv[1]), sys.argv[2]
real = Path.rename

def rename(self, target):
    if self != path:
        os._exit(9)  # the earlier bundle is aside, the new one not yet in its place
    return real(self, target)

Path.rename = rename
with writing(path) as partial:
    (partial / "model.onnx").write_bytes(b"half")
    if moment == "inside":
        os._exit(9)
"""


def killed(path: Path, moment: str = "inside") -> None:
    """Leave what a process leaves that is killed while it writes `path`."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], check=False)
    assert done.returncode == 9


@pytest.mark.parametrize("name", ["tiny", "old-tiny", "new-tiny", "old-old-tiny"])
def test_a_dead_processs_partial_folder_is_removed(tmp_path: Path, name: str) -> None:
    killed(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 1
    check_output_folder(tmp_path)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("name", ["tiny", "old-tiny"])
def test_a_bundle_moved_aside_by_a_dead_process_comes_back(
    write_bundle: WriteBundle, name: str
) -> None:
    path = write_bundle(name, content=b"earlier")
    killed(path, "between")
    assert not path.exists()
    assert find_bundles(path.parent) == []
    check_output_folder(path.parent)
    assert [p.name for p in path.parent.iterdir()] == [name]
    assert Bundle.open(path).model_path.read_bytes() == b"earlier"


def test_a_moved_aside_bundle_does_not_replace_a_newer_one(write_bundle: WriteBundle) -> None:
    path = write_bundle(content=b"earlier")
    killed(path, "between")
    write_bundle(content=b"later")
    check_output_folder(path.parent)
    assert [p.name for p in path.parent.iterdir()] == ["tiny"]
    assert Bundle.open(path).model_path.read_bytes() == b"later"


def test_live_processes_and_strange_names_are_left_alone(tmp_path: Path, dead_pid: int) -> None:
    for name in (".partial-x-tiny", ".partial-", ".partial-²-tiny", f"mine.partial-{dead_pid}-a"):
        (tmp_path / name).mkdir()
    with writing(tmp_path / "tiny") as partial:
        (partial / "model.onnx").touch()
        before = listing(tmp_path)
        check_output_folder(tmp_path)
        assert listing(tmp_path) == before


def test_stale_files_and_impossible_ids_are_removed(tmp_path: Path, dead_pid: int) -> None:
    (tmp_path / f".partial-{dead_pid}-probe").touch()
    (tmp_path / f".partial-{'9' * 30}-new-tiny").mkdir()
    check_output_folder(tmp_path)
    assert listing(tmp_path) == []


def test_a_later_process_of_the_same_number_keeps_nothing(tmp_path: Path) -> None:
    old = tmp_path / f".partial-{os.getpid()}-new-tiny"
    old.mkdir()
    os.utime(old, (1_000_000_000, 1_000_000_000))
    check_output_folder(tmp_path)
    assert listing(tmp_path) == []


def test_a_process_of_someone_else_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_permitted(*_: int) -> None:
        raise PermissionError

    killed(tmp_path / "tiny")
    monkeypatch.setattr(os, "kill", not_permitted)
    check_output_folder(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


# Looking around.


def test_bundles_are_found_in_order(tmp_path: Path, write_bundle: WriteBundle) -> None:
    folder = tmp_path / "bundles"
    assert find_bundles(folder) == []
    write_bundle("b")
    write_bundle("a")
    (folder / "records").mkdir()
    (folder / ".partial-1-new-c").mkdir()
    (folder / ".partial-1-new-c" / MANIFEST).touch()
    assert [path.name for path in find_bundles(folder)] == ["a", "b"]


def test_files_are_listed_with_the_manifest_left_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in (MANIFEST, "model", f"inner/{MANIFEST}"):
        (tmp_path / name).write_bytes(b"12")
    assert list(list_files(tmp_path)) == [f"inner/{MANIFEST}", "model"]


def test_a_bundle_that_is_being_written_has_its_name_already(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    assert Bundle(tmp_path / ".partial-4711-new-net-onnx-fp32", manifest).name == "net-onnx-fp32"
    assert Bundle(tmp_path / "net-onnx-fp32", manifest).name == "net-onnx-fp32"
