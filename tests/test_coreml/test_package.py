from __future__ import annotations

import contextlib
import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import mb, types, write_package

from care_mobile.coreml import Feature, open_package, package
from care_mobile.errors import ModelFileError
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter

from .support import MODEL, WEIGHT, WEIGHTS, edit, main_block, small, tensor_type

with quiet():
    import coremltools as ct
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder
    from coremltools.proto import Model_pb2


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return small(tmp_path_factory.mktemp("original") / "small.mlpackage")


@pytest.fixture
def path(original, tmp_path):
    """A copy to damage."""
    return shutil.copytree(original, tmp_path / "small.mlpackage")


def refusal(path) -> str:
    """The error of opening the package and reading all its constants: one line."""
    with pytest.raises(ModelFileError) as caught:
        Interpreter(open_package(path)).run({"x": np.zeros((2, 12), np.float32)})
    message = str(caught.value)
    assert "\n" not in message + caught.value.hint
    return message


def point_manifest_to(path, root) -> None:
    entries = {"itemInfoEntries": {"a": {"path": root}}, "rootModelIdentifier": "a"}
    (path / "Manifest.json").write_text(json.dumps(entries))


def test_a_package_as_it_is(path):
    opened = open_package(path)
    assert (opened.specification, opened.main.opset, opened.scores) == (8, "CoreML7", "")
    assert opened.inputs == (Feature("x", "tensor", "fp32", (2, 12)),)
    assert [feature.dtype for feature in opened.outputs] == ["fp32"]
    assert opened.size_bytes == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    [operation] = opened.main.operations
    np.testing.assert_array_equal(operation.constant("y"), WEIGHT)


def test_interface_of_images_scores_and_metadata(tmp_path):
    with quiet():
        program = mb.program(input_specs=[mb.TensorSpec((1, 3, 8, 6))])(
            lambda image: mb.reduce_mean(x=image, axes=[2, 3], name="probabilities")
        )
        model = ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[ct.ImageType(name="image", color_layout=ct.colorlayout.BGR)],
            classifier_config=ct.ClassifierConfig(["a", "b", "c"], "label"),
            skip_model_load=True,
        )
        model.author, model.user_defined_metadata["seed"] = "someone", "7"
        model.save(str(tmp_path / "image.mlpackage"))
    opened = open_package(tmp_path / "image.mlpackage")
    assert opened.inputs == (Feature("image", "image", "BGR", (8, 6)),)
    assert {f.name: f.kind for f in opened.outputs} == {
        "label": "string",
        opened.scores: "dictionary",
    }
    assert opened.metadata["author"] == "someone"
    assert opened.metadata["seed"] == "7"


@pytest.fixture(scope="module")
def neural_network(tmp_path_factory):
    """A `.mlmodel` of the old kind."""
    features = [("x", datatypes.Array(3))], [("y", datatypes.Array(3))]
    with quiet():
        builder = NeuralNetworkBuilder(*features)
        builder.add_activation("relu", "RELU", "x", "y")
    file = tmp_path_factory.mktemp("old") / "old.mlmodel"
    file.write_bytes(builder.spec.SerializeToString())
    return file


def test_a_single_file_is_refused(neural_network, tmp_path):
    message = "old.mlmodel is a single .mlmodel file, the format of neural-network models"
    assert refusal(neural_network) == message
    other = tmp_path / "file.mlpackage"
    other.write_text("")
    assert refusal(other) == f"{other} is not a .mlpackage folder"


def test_a_neural_network_in_a_package_is_refused(path, neural_network):
    shutil.copy(neural_network, path / MODEL)
    assert refusal(path) == "small.mlpackage is of type neuralNetwork, not an ML Program"


def test_a_pipeline_is_refused(path):
    (path / MODEL).write_bytes(
        Model_pb2.Model(specificationVersion=8, pipeline={}).SerializeToString()
    )
    assert refusal(path) == "small.mlpackage is of type pipeline, not an ML Program"


@pytest.mark.parametrize("size", [0, 1, 10, 100, -1])
def test_a_truncated_program_is_refused(path, size):
    data = (path / MODEL).read_bytes()
    (path / MODEL).write_bytes(data[:size])
    expected = (
        "small.mlpackage is of type unknown, not an ML Program"
        if size == 0
        else "small.mlpackage holds no Core ML model: "
    )
    assert refusal(path).startswith(expected)


def test_a_program_too_large_for_its_format_is_refused(path, monkeypatch):
    monkeypatch.setattr(package, "MAX_PROGRAM_BYTES", 10)
    assert refusal(path) == f"{path / MODEL} is larger than any Core ML program, 2 GiB"


def test_missing_empty_and_truncated_weights_are_refused(path):
    data = (path / WEIGHTS).read_bytes()
    (path / WEIGHTS).write_bytes(b"")
    assert refusal(path) == "the weight file 'weight.bin' is damaged: it is empty"
    (path / WEIGHTS).write_bytes(data[:-1])
    assert refusal(path) == (
        "the weight file 'weight.bin' is damaged: the blob at 64 ends behind the end of the file"
    )
    (path / WEIGHTS).unlink()
    assert refusal(path) == "the weight file 'weight.bin' is missing"
    (path / WEIGHTS).mkdir()
    assert refusal(path) == "the weight file 'weight.bin' is missing"


@pytest.mark.parametrize("name", ["Manifest.json", "Data/link", str(WEIGHTS)])
def test_a_symbolic_link_inside_is_refused(path, tmp_path, name):
    (tmp_path / "target").write_bytes(b"{}")
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(tmp_path / "target")
    assert refusal(path) == f"small.mlpackage holds a symbolic link, {name!r}"


def test_a_special_file_inside_is_refused_before_it_blocks(path):
    (path / "Manifest.json").unlink()
    os.mkfifo(path / "Manifest.json")
    assert refusal(path) == "small.mlpackage holds a special file, 'Manifest.json'"


OUTSIDE = [
    "../../small.mlpackage/Data/com.apple.CoreML/model.mlmodel", "/etc/hostname", "//host/share",
    "com.apple.CoreML/../../../x", "..\\x", "C:\\x", "C:/x", "a\0b", "", ".",
]  # fmt: skip


@pytest.mark.parametrize("root", [*OUTSIDE, None, 3, ["a"]])
def test_a_manifest_that_leaves_the_folder_is_refused(path, root):
    point_manifest_to(path, root)
    assert refusal(path) == f"the package refers to {root!r}, which is no path inside it"


@pytest.mark.parametrize("name", OUTSIDE)
def test_weights_outside_the_folder_are_refused(path, name):
    def leave(model):
        for operation in main_block(model).operations:
            if operation.type == "const":
                operation.attributes["val"].blobFileValue.fileName = f"@model_path/{name}"

    assert refusal(edit(path, leave)) == (
        f"the package refers to {name!r}, which is no path inside it"
    )


@pytest.mark.parametrize("root", ["com.apple.CoreML", "nothing", "a" * 5000, "\ud800", "\x1b[2J"])
def test_a_manifest_that_names_no_file_is_refused(path, root):
    point_manifest_to(path, root)
    expected = f"Manifest.json of small.mlpackage names {root!r}, which is not there"
    assert refusal(path) == str(ModelFileError(expected))  # which shortens what is too long


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 100_000,
        b'{"itemInfoEntries": [], "rootModelIdentifier": "a"}',
        b'{"itemInfoEntries": {}, "rootModelIdentifier": []}',
        b'{"itemInfoEntries": {"a": 3}, "rootModelIdentifier": "a"}',
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_refused(path, text):
    (path / "Manifest.json").write_bytes(text)
    assert refusal(path) == "Manifest.json of small.mlpackage cannot be understood"


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert refusal(tmp_path) == f"{tmp_path} has no Manifest.json, so it is no .mlpackage"
    empty = tmp_path / "empty.mlpackage"
    empty.mkdir()
    assert refusal(empty) == f"{empty} has no Manifest.json, so it is no .mlpackage"
    absent = tmp_path / "absent.mlpackage"
    assert refusal(absent) == f"{absent} is not a .mlpackage folder"


def test_newer_specifications_are_refused(path):
    def renew(model):
        model.specificationVersion = 10

    assert refusal(edit(path, renew)) == (
        "small.mlpackage has specification version 10; versions up to 9 (iOS 18) are known"
    )


def test_other_functions_are_refused(path):
    def copy(model):
        model.mlProgram.functions["second"].CopyFrom(model.mlProgram.functions["main"])

    assert refusal(edit(path, copy)) == (
        "small.mlpackage has the functions ['main', 'second']; "
        "one function called main is supported"
    )


def test_states_are_refused(tmp_path):
    shape = (1, 4)

    @mb.program(
        input_specs=[mb.TensorSpec(shape, types.fp16), mb.StateTensorSpec(shape, types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, memory):
        return mb.add(x=x, y=mb.read_state(input=memory))

    with quiet():
        ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        ).save(str(tmp_path / "memory.mlpackage"))
    expected = "memory.mlpackage keeps state between calls ('memory'), which is not supported"
    assert refusal(tmp_path / "memory.mlpackage") == expected


def test_unknown_element_types_are_refused(path):
    def retype(model):
        main_block(model).operations[-1].outputs[0].type.CopyFrom(tensor_type(99, 2, 12))

    assert refusal(edit(path, retype)).endswith("has the element type 99, which is not known")


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A package with inline constants of several types."""

    def build(x):
        kept = mb.slice_by_index(x=x, begin=[0], end=[2], end_mask=[True])
        return mb.cast(x=mb.add(x=kept, y=np.float32(3)), dtype="int32")

    path = tmp_path_factory.mktemp("varied") / "varied.mlpackage"
    return write_package(path, build, {"x": np.zeros(4, np.float32)})


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_corrupted_program_gives_no_other_error(data, varied, tmp_path_factory):
    path = shutil.copytree(varied, tmp_path_factory.mktemp("fuzz") / "fuzz.mlpackage")
    program = bytearray((path / MODEL).read_bytes())
    places = st.integers(0, len(program) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        program[place] = data.draw(st.integers(0, 255))
    (path / MODEL).write_bytes(program)
    with contextlib.suppress(ModelFileError):
        opened = open_package(path)
        for operation in opened.main.operations:
            for name in operation.inputs:
                operation.constant(name)
