from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from care_mobile.errors import CareError, ModelFileError
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import Inspection, OnnxFacts

from .conftest import float_input, write_onnx

F32 = np.float32


def test_what_a_model_holds(small_onnx: Path) -> None:
    found = inspect(small_onnx)
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [("x", "fp32", (1, 3, 10, 10))]
    assert [p.name for p in found.outputs] == ["y"]
    assert found.census == {"Conv": 1, "Flatten": 1, "Gemm": 1, "GlobalAveragePool": 1, "Relu": 1}
    assert found.parameters == 8 * 27 + 8 + 40
    assert found.bytes_by_type == {"fp32": 4 * found.parameters}
    assert found.macs == 8 * 8 * 8 * 27 + 40
    assert [(layer.name, layer.bytes) for layer in found.layers] == [("stem", 896), ("head", 160)]
    assert found.size_bytes == small_onnx.stat().st_size
    assert isinstance(found.facts, OnnxFacts)
    assert found.facts.opsets == {"ai.onnx": 20}
    assert found.facts.producer == "tests"
    assert Inspection.model_validate_json(found.model_dump_json()) == found


CASES: dict[str, tuple[Any, dict[str, Any], tuple[int, ...], int]] = {
    "transposed convolution": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2),
        {"w": np.ones((4, 3, 2, 2), F32)}, (1, 4, 5, 6), 4 * 5 * 6 * 3 * 4,
    ),
    "grouped convolution": (
        helper.make_node("Conv", ["x", "w"], ["y"], group=2),
        {"w": np.ones((6, 2, 3, 3), F32)}, (1, 4, 5, 6), 6 * 3 * 4 * 2 * 9,
    ),
    "batched product": (
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        {"w": np.ones((2, 5, 7), F32)}, (2, 3, 5), 2 * 3 * 5 * 7,
    ),
    "transposed product": (
        helper.make_node("Gemm", ["x", "w"], ["y"], transA=1),
        {"w": np.ones((3, 7), F32)}, (3, 5), 3 * 5 * 7,
    ),
    "einsum": (
        helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,jk->bik"),
        {"w": np.ones((5, 7), F32)}, (2, 3, 5), 2 * 3 * 5 * 7,
    ),
    "recurrence": (
        helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4),
        {"w": np.ones((1, 12, 5), F32), "r": np.ones((1, 12, 4), F32)}, (6, 2, 5),
        6 * 2 * (60 + 48),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_multiply_accumulates(case: str, tmp_path: Path) -> None:
    node, weights, shape, macs = CASES[case]
    path = write_onnx(tmp_path / "m.onnx", [node], weights, float_input("x", *shape))
    assert inspect(path).macs == macs


def test_a_free_batch_counts_as_one(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = {"w": np.ones((5, 7), F32)}
    found = inspect(write_onnx(tmp_path / "m.onnx", [node], weights, float_input("x", "batch", 5)))
    assert found.inputs[0].shape == ("batch", 5)
    assert found.macs == 35
    assert "batch of 1" in found.macs_note


def test_operators_of_others_are_not_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Mixer", ["m", "v"], ["y"], domain="com.example"),
    ]
    path = write_onnx(
        tmp_path / "m.onnx", nodes, {"w": np.ones((5, 7), F32), "v": np.ones((7, 2), F32)},
        float_input("x", 3, 5), opsets=[helper.make_opsetid("com.example", 1)],
    )  # fmt: skip
    found = inspect(path)
    assert (found.macs, found.macs_at_least) == (3 * 5 * 7, True)
    assert found.macs_note == "1 operation could not be counted"
    assert "com.example::Mixer" in found.census


def test_branches_are_counted_as_operations(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["o"])], "b", [], [out])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("", 9, [], [True])),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    found = inspect(write_onnx(tmp_path / "m.onnx", nodes, {}, float_input("x", 3)))
    assert found.census == {"Relu": 2, "If": 1}
    assert (found.macs, found.macs_at_least) == (0, False)


def external(folder: Path, location: str, data: bytes = bytes(140), **entry: str) -> Path:
    """A model whose weight is declared to lie in `location`; `weights.bin` has `data`."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = {"w": np.ones((5, 7), F32)}
    path = write_onnx(folder / "m.onnx", [node], weights, float_input("x", 3, 5))
    model = onnx.load_model(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location} | entry).items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    (folder / "weights.bin").write_bytes(data)
    return path


def test_weights_beside_the_model(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    found = inspect(path)
    assert isinstance(found.facts, OnnxFacts)
    assert found.facts.external_files == ("weights.bin",)
    assert found.size_bytes == path.stat().st_size + 140
    assert (found.parameters, found.macs) == (35, 105)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "", "a/../../w", "..\\w"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelFileError, match="outside its folder"):
        inspect(external(tmp_path, location))


def test_links_are_not_followed(tmp_path: Path) -> None:
    path = external(tmp_path, "link.bin")
    (tmp_path / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelFileError, match="is a symbolic link"):
        inspect(path)


@pytest.mark.parametrize(
    ("entry", "data", "message"),
    [
        ({}, bytes(139), "not whole"),
        ({"offset": "4"}, bytes(140), "not whole"),
        ({"offset": "-4"}, bytes(140), "not whole"),
        ({"length": "136"}, bytes(140), "not whole"),
        ({"offset": "many"}, bytes(140), "no valid place"),
    ],
)
def test_weights_that_are_not_whole(
    tmp_path: Path, entry: dict[str, str], data: bytes, message: str
) -> None:
    with pytest.raises(ModelFileError, match=message):
        inspect(external(tmp_path, "weights.bin", data, **entry))


def test_a_missing_file_beside_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is missing"):
        inspect(external(tmp_path, "elsewhere.bin"))


def test_a_weight_that_claims_more_than_it_has(small_onnx: Path) -> None:
    model = onnx.load_model(str(small_onnx))
    model.graph.initializer[0].dims[0] = 10**9
    small_onnx.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="bytes of"):
        inspect(small_onnx)
    model.graph.initializer[0].ClearField("raw_data")
    small_onnx.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="lacks data"):
        inspect(small_onnx)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x00" * 64])
def test_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="no ONNX"):
        inspect(path)


@given(position=st.integers(0, 1500), value=st.integers(0, 255))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_one_line_or_harmless(small_onnx: Path, position: int, value: int) -> None:
    data = bytearray(small_onnx.read_bytes())
    data[position % len(data)] = value
    damaged = small_onnx.with_name("damaged.onnx")
    damaged.write_bytes(data)
    try:
        name = inspect(damaged).name
    except CareError as error:
        name = str(error)
    assert name
    assert "\n" not in name
