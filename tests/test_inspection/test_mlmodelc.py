"""Compiled models. Only Apple's compiler writes them, so these texts follow published examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.coreml.mil_text import read_functions
from care_mobile.errors import CareError, ModelFileError, UsageError
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import CoreMLFacts

PROGRAM = """program(1.0)
[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremlc-version", "3405.2.1"}})]
{
    func main<ios17>(tensor<fp16, [1, 3, 10, 10]> image) {
            tensor<string, []> pad_type_0 = const()[name = tensor<string, []>("pad_type_0"), val = tensor<string, []>("valid")];
            tensor<int32, [2]> strides_0 = const()[name = tensor<string, []>("strides_0"), val = tensor<int32, [2]>([1, 1])];
            tensor<fp16, [8, 3, 3, 3]> w = const()[name = tensor<string, []>("w"), val = tensor<fp16, [8, 3, 3, 3]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(64)))];
            tensor<fp16, [8]> b = const()[name = tensor<string, []>("b"), val = tensor<fp16, [8]>([0x1p+0, 0x1p+0, 0x1p+0, 0x1p+0, 0x1p+0, 0x1p+0, 0x1p+0, 0x1p+0])];
            tensor<fp16, [1, 8, 8, 8]> stem = conv(bias = b, pad_type = pad_type_0, strides = strides_0, weight = w, x = image)[name = tensor<string, []>("stem")];
            bool flip = const()[name = string("flip"), val = bool(true)];
            tensor<fp16, [1, 8, 8, 4]> left, tensor<fp16, [1, 8, 8, 4]> right = split(axis = strides_0, x = stem)[name = tensor<string, []>("halves")];
            tensor<fp16, [1, 8, 4, 4]> y = matmul(transpose_x = flip, x = left, y = right)[name = tensor<string, []>("y")];
            tensor<fp16, [1, 8, 4, 8]> z = concat(values = (y, y))[name = tensor<string, []>("z")];
        } -> (z);
}
"""  # noqa: E501
CONV, MATMUL = 8 * 8 * 8 * 27, 8 * 4 * 4 * 8
METADATA = {
    "specificationVersion": 8,
    "shortDescription": "a test",
    "inputSchema": [
        {"name": "image", "type": "MultiArray", "dataType": "Float16", "shape": "[1, 3, 10, 10]"}
    ],
    "outputSchema": [
        {"name": "z", "type": "MultiArray", "dataType": "Float16", "shape": "[1, 8, 4, 8]"}
    ],
}


def compiled(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    (path / "coremldata.bin").write_bytes(b"\1\2\3")
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


def test_a_program(tmp_path: Path) -> None:
    path = compiled(tmp_path / "net.mlmodelc", model_mil=PROGRAM,
                    metadata_json=json.dumps([METADATA]))  # fmt: skip
    found = inspect(path)
    assert found.census == {"concat": 1, "conv": 1, "matmul": 1, "split": 1}
    assert (found.macs, found.macs_at_least) == (CONV + MATMUL, False)
    assert (found.parameters, found.bytes_by_type) == (216 + 8, {"fp16": 448})
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [("image", "fp16", (1, 3, 10, 10))]
    assert isinstance(found.facts, CoreMLFacts)
    assert (found.facts.compiled, found.facts.ios, found.facts.opset) == (True, 17, "CoreML7")
    assert found.facts.metadata == {"description": "a test"}
    assert found.forecast is None
    with pytest.raises(UsageError, match="compiled for its shapes"):
        inspect(path, shapes={"image": (1, 3, 20, 20)})
    with pytest.raises(UsageError, match="has no function 'other'"):
        inspect(path, function="other")


def test_a_program_without_what_is_written_for_people(tmp_path: Path) -> None:
    found = inspect(compiled(tmp_path / "net.mlmodelc", model_mil=PROGRAM))
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [("image", "fp16", (1, 3, 10, 10))]
    assert [(p.name, p.shape) for p in found.outputs] == [("z", (1, 8, 4, 8))]
    assert found.macs == CONV + MATMUL


def test_a_program_that_is_not_understood_has_its_list_of_operators(tmp_path: Path) -> None:
    counts = METADATA | {"mlProgramOperationTypeHistogram": {"Ios17.conv": 3, "Ios17.cond": 1}}
    path = compiled(tmp_path / "net.mlmodelc", model_mil="a program of tomorrow",
                    metadata_json=json.dumps([counts]))  # fmt: skip
    found = inspect(path)
    assert (found.operations, found.census) == (4, {"conv": 3, "cond": 1})
    assert (found.parameters, found.parameters_at_least, found.macs) == (None, True, None)


def test_an_open_size_is_a_lower_bound(tmp_path: Path) -> None:
    text = PROGRAM.replace("[1, 8, 8, 8]", "[1, 8, ?, 8]")
    found = inspect(compiled(tmp_path / "net.mlmodelc", model_mil=text))
    assert (found.macs, found.macs_at_least) == (MATMUL, True)


def test_an_older_network(tmp_path: Path) -> None:
    net = {"layers": [{"type": "convolution"}, {"type": "convolution"}, {"type": "softmax"}]}
    path = compiled(tmp_path / "net.mlmodelc")
    (path / "model.espresso.net").write_text(json.dumps(net))
    found = inspect(path)
    assert found.census == {"convolution": 2, "softmax": 1}
    assert (found.parameters, found.parameters_at_least, found.macs) == (None, True, None)


def test_a_pipeline(tmp_path: Path) -> None:
    path = compiled(tmp_path / "net.mlmodelc")
    for index in range(2):
        compiled(path / f"model{index}", model_mil=PROGRAM)
    found = inspect(path)
    assert [part.name for part in found.parts] == ["model0", "model1"]
    assert found.macs == 2 * (CONV + MATMUL)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"compiled Core ML model \(\.mlmodelc\) without a program that can be read"),
        ({"model_mil": "hello"}, "holds no program that is understood"),
        ({"model_mil": PROGRAM, "metadata_json": "{"}, "cannot be understood"),
        ({"model_mil": PROGRAM.replace("conv(", "conv{")}, "a line that is not understood"),
        ({"model_mil": PROGRAM.replace("[1, 8, 8, 8]", f"[1, {10**400}]")}, "beyond any machine"),
        ({"model_mil": PROGRAM.replace("[1, 8, 8, 8]", f"[{2**62}, {2**62}]")},
         "beyond any machine"),
        ({"model_mil": "version https://git-lfs.github.com/spec/v1\n"}, "is a Git LFS pointer"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        inspect(compiled(tmp_path / "net.mlmodelc", **files))


def test_an_empty_folder_is_no_compiled_model(tmp_path: Path) -> None:
    (tmp_path / "net.mlmodelc").mkdir()
    with pytest.raises(ModelFileError, match="is no compiled Core ML model"):
        inspect(tmp_path / "net.mlmodelc")


@given(place=st.integers(0, len(PROGRAM)), text=st.text(max_size=4), cut=st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_damaged_texts_give_no_other_error(place: int, text: str, cut: int) -> None:
    damaged = PROGRAM[:place] + text + PROGRAM[place + cut :]
    try:
        text = str([function.types() for function in read_functions("model.mil", damaged).values()])
    except CareError as error:
        text = str(error)
    assert "\n" not in text


def test_long_lines_take_no_time() -> None:
    """Patterns that try every way to match would need hours."""
    for line in ("a" * 60_000, "tensor<" * 8_000, "x = y(" * 9_000, "(" * 60_000, "[" * 60_000):
        head, tail = PROGRAM.split("            bool flip")
        with pytest.raises(ModelFileError):
            read_functions("model.mil", f"{head}{line}\n            bool flip{tail}")
