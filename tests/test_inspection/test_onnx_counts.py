"""Counts of ONNX files of many kinds, each against a count of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from care_mobile.errors import ModelFileError, UsageError
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import Inspection

from .conftest import float_input, write_onnx

F32 = np.float32
CONV = 8 * 8 * 8 * 27
WEIGHTS = {"w": np.ones((8, 3, 3, 3), F32)}


def convolution(tmp_path: Path, *shape: int | str) -> Path:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    return write_onnx(tmp_path / "m.onnx", [node], WEIGHTS, float_input("x", *shape))


def value(name: str, *shape: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or None)


def flag(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.BOOL, [])


def weight(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.ones(shape, F32), name)


def counted(found: Inspection) -> tuple[int | None, bool, int | None]:
    return found.macs, found.macs_at_least, found.parameters


@pytest.mark.parametrize("batch", [-1, 0, "batch"])
def test_an_unknown_batch_counts_as_one(tmp_path: Path, batch: int | str) -> None:
    found = inspect(convolution(tmp_path, batch, 3, 10, 10))
    assert counted(found) == (CONV, False, 216)
    assert found.macs_note == "for a batch of 1, which the file leaves free"


def test_a_negative_batch_everywhere_counts_as_one(tmp_path: Path) -> None:
    path = convolution(tmp_path, -1, 3, 10, 10)
    model = onnx.load_model(str(path))
    model.graph.output[0].CopyFrom(float_input("y", -1, 8, 8, 8))
    path.write_bytes(model.SerializeToString())
    found = inspect(path)
    assert counted(found) == (CONV, False, 216)
    assert found.inputs[0].shape == (None, 3, 10, 10)
    assert found.outputs[0].shape == (None, 8, 8, 8)


@pytest.mark.parametrize("size", [-1, "h"])
def test_an_open_size_makes_a_lower_bound_that_a_shape_settles(
    tmp_path: Path, size: int | str
) -> None:
    path = convolution(tmp_path, "n", 3, size, 10)
    found = inspect(path)
    assert counted(found) == (None, True, 216)
    assert "1 operation could not be counted" in found.macs_note
    assert "--input-shape x=1x3x?x10, with a number for every ?, settles it" in found.macs_note
    settled = inspect(path, shapes={"x": (2, 3, 10, 10)})
    assert counted(settled) == (2 * CONV, False, 216)
    assert settled.macs_note == "for x 2 x 3 x 10 x 10, as given"
    assert settled.inputs[0].shape == found.inputs[0].shape


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1, 3, 10, 10)}, "'y', which is no input"),
        ({"x": (1, 3, 10)}, "does not fit: in the file it is"),
        ({"x": (1, 4, 10, 10)}, r"does not fit: in the file it is \?x3x\?x10"),
    ],
)
def test_shapes_that_do_not_fit(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inspect(convolution(tmp_path, "n", 3, "h", 10), shapes=shapes)


def test_one_name_of_an_axis_has_one_size(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "z"], ["y"])
    path = write_onnx(tmp_path / "m.onnx", [node], {}, float_input("x", 2, "k"),
                      float_input("z", "k", 3))  # fmt: skip
    assert inspect(path, shapes={"x": (2, 5)}).macs == 2 * 5 * 3
    with pytest.raises(UsageError, match="the axis 'k' two sizes, 5 and 6"):
        inspect(path, shapes={"x": (2, 5), "z": (6, 3)})


def body(name: str = "b") -> Any:
    """A loop's body: its state times an 8 x 8 weight."""
    nodes = [
        helper.make_node("MatMul", ["s", "wl"], ["s2"]),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    return helper.make_graph(
        nodes, name, [count, flag("go"), value("s")], [flag("on"), value("s2")],
        [weight("wl", 8, 8)],
    )  # fmt: skip


def test_branches(tmp_path: Path) -> None:
    """One of them runs: their weights are all in the file, their work is not known."""
    small = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w1"], ["o1"])], "t", [], [value("o1")],
        [weight("w1", 8, 16)],
    )  # fmt: skip
    large = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w2"], ["h2"]),
            helper.make_node("MatMul", ["h2", "w3"], ["o2"]),
        ],
        "e", [], [value("o2")], [weight("w2", 8, 32), weight("w3", 32, 16)],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], then_branch=small, else_branch=large)
    found = inspect(write_onnx(tmp_path / "m.onnx", [node], {}, value("x", 4, 8), flag("c")))
    assert counted(found) == (4 * 8 * 16, True, 8 * 16 + 8 * 32 + 32 * 16)
    assert found.macs_note == "the cheaper branches; 3,072 with the dearer ones"
    assert found.census == {"MatMul": 3, "If": 1}
    assert [layer.name for layer in found.layers] == ["o2", "h2", "o1"]


def test_a_loop_of_known_length_is_counted_whole(tmp_path: Path) -> None:
    rounds = numpy_helper.to_array(numpy_helper.from_array(np.array(7, np.int64)))
    node = helper.make_node("Loop", ["m", "", "x"], ["y"], body=body())
    found = inspect(write_onnx(tmp_path / "m.onnx", [node], {"m": rounds}, value("x", 4, 8)))
    assert counted(found) == (7 * 4 * 64, False, 64)


def test_a_loop_of_unknown_length_is_a_lower_bound(tmp_path: Path) -> None:
    rounds = helper.make_tensor_value_info("m", TensorProto.INT64, [])
    node = helper.make_node("Loop", ["m", "", "x"], ["y"], body=body())
    found = inspect(write_onnx(tmp_path / "m.onnx", [node], {}, value("x", 4, 8), rounds))
    assert counted(found) == (4 * 64, True, 64)
    assert found.macs_note == "one round of 1 loop of unknown length"


def test_a_scan_runs_once_for_each_slice(tmp_path: Path) -> None:
    step = helper.make_graph(
        [
            helper.make_node("MatMul", ["s", "w"], ["s2"]),
            helper.make_node("Identity", ["e"], ["e2"]),
        ],
        "b", [value("s", 1, 8), value("e")], [value("s2", 1, 8), value("e2")],
        [weight("w", 8, 8)],
    )  # fmt: skip
    node = helper.make_node("Scan", ["h", "x"], ["z", "y"], body=step, num_scan_inputs=1)
    path = write_onnx(tmp_path / "m.onnx", [node], {}, value("h", 1, 8), value("x", 9, 4))
    assert counted(inspect(path)) == (9 * 64, False, 64)


def function(name: str, *nodes: Any) -> Any:
    return helper.make_function("my", name, ["a"], ["b"], nodes, [
        helper.make_opsetid("", 20), helper.make_opsetid("my", 1),
    ])  # fmt: skip


def call(name: str, source: str, result: str) -> Any:
    return helper.make_node(name, [source], [result], domain="my")


def test_functions_are_counted_where_they_are_called(tmp_path: Path) -> None:
    """Their weights are in the file once."""
    constant = helper.make_node("Constant", [], ["w"], value=weight("w", 8, 8))
    block = function("Block", constant, helper.make_node("MatMul", ["a", "w"], ["b"]))
    path = write_onnx(
        tmp_path / "m.onnx", [call("Block", "x", "m"), call("Block", "m", "y")], {},
        value("x", 4, 8), opsets=[helper.make_opsetid("my", 1)], functions=[block],
    )  # fmt: skip
    found = inspect(path)
    assert counted(found) == (2 * 4 * 64, False, 64)
    assert found.census == {"MatMul": 2}


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    functions = [function("A", call("B", "a", "b")), function("B", call("A", "a", "b"))]
    path = write_onnx(
        tmp_path / "m.onnx", [call("A", "x", "y")], {}, value("x", 4, 8),
        opsets=[helper.make_opsetid("my", 1)], functions=functions,
    )  # fmt: skip
    with pytest.raises(ModelFileError, match="functions that call themselves"):
        inspect(path)


def test_functions_that_multiply_without_end_are_refused(tmp_path: Path) -> None:
    """Each calls the next ten times: thirty of them are 10^30 operations."""
    functions = []
    for level in range(30):
        names = ["a", *(f"t{i}" for i in range(9)), "b"]
        calls = [call(f"F{level + 1}", a, b) for a, b in pairwise(names)]
        functions.append(function(f"F{level}", *calls))
    functions.append(function("F30", helper.make_node("Relu", ["a"], ["b"])))
    path = write_onnx(
        tmp_path / "m.onnx", [call("F0", "x", "y")], {}, value("x", 4, 8),
        opsets=[helper.make_opsetid("my", 1)], functions=functions,
    )  # fmt: skip
    with pytest.raises(ModelFileError, match="call each other more than 1,000,000 times"):
        inspect(path)


QUANTIZED = {
    "wq": np.ones((8, 3, 3, 3), np.int8),
    "ws": np.ones(8, F32),
    "wz": np.zeros(8, np.int8),
    "bq": np.ones(8, np.int32),
    "bz": np.zeros(8, np.int32),
}


def test_an_int8_layer_is_the_convolution_not_what_unpacks_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bq", "ws", "bz"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], name="stem"),
    ]
    found = inspect(write_onnx(tmp_path / "m.onnx", nodes, QUANTIZED, value("x", 1, 3, 10, 10)))
    (layer,) = found.layers
    assert (layer.name, layer.operator, layer.parameters) == ("stem", "Conv", 216 + 8)
    assert layer.bytes == 216 + 8 + 4 * 8 + 4 * 8  # weight, zeros, scales of both, bias
    assert counted(found) == (CONV, False, 224)


def test_an_int8_linear_layer_behind_a_transpose(tmp_path: Path) -> None:
    weights = {"wq": np.ones((5, 7), np.int8), "ws": np.array([0.5], F32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["wq", "ws"], ["w"]),
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"], name="head"),
    ]
    found = inspect(write_onnx(tmp_path / "m.onnx", nodes, weights, value("x", 3, 7)))
    assert [(layer.name, layer.parameters) for layer in found.layers] == [("head", 35)]


def test_integer_convolutions_and_what_onnx_runtime_adds(tmp_path: Path) -> None:
    """Shapes go on through operators that only ONNX Runtime knows."""
    scale = {"s": np.array(0.5, F32), "z": np.array(0, np.uint8)}
    q = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *q], ["xq"]),
        helper.make_node("QLinearConv", ["xq", *q, "wq", "ws", "wz", *q, "bq"], ["cq"], name="c"),
        helper.make_node("QLinearAdd", ["cq", *q, "cq", *q, *q], ["aq"], domain="com.microsoft"),
        helper.make_node("QLinearGlobalAveragePool", ["aq", *q, *q], ["pq"], domain="com.microsoft",
                         channels_last=0),
        helper.make_node("Flatten", ["pq"], ["fq"]),
        helper.make_node("QGemm", ["fq", *q, "vq", "s", "z8"], ["y"], domain="com.microsoft",
                         name="head"),
    ]  # fmt: skip
    weights = QUANTIZED | scale | {"vq": np.ones((8, 5), np.int8), "z8": np.array(0, np.int8)}
    path = write_onnx(
        tmp_path / "m.onnx", nodes, weights, value("x", 1, 3, 10, 10),
        opsets=[helper.make_opsetid("com.microsoft", 1)],
    )  # fmt: skip
    found = inspect(path)
    assert counted(found) == (CONV + 8 * 5, False, 216 + 8 + 40)
    assert [layer.name for layer in found.layers[:2]] == ["c", "head"]


def test_a_product_of_packed_weights(tmp_path: Path) -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "wp", "ws"], ["h"], domain="com.microsoft", K=64, N=16, bits=4,
        block_size=32, name="packed",
    )  # fmt: skip
    after = helper.make_node("MatMul", ["h", "v"], ["y"])
    weights = {
        "wp": np.ones((16, 2, 16), np.uint8), "ws": np.ones(32, F32), "v": np.ones((16, 3), F32)
    }  # fmt: skip
    path = write_onnx(
        tmp_path / "m.onnx", [node, after], weights, value("x", 5, 64),
        opsets=[helper.make_opsetid("com.microsoft", 1)],
    )  # fmt: skip
    found = inspect(path)
    assert counted(found) == (5 * 64 * 16 + 5 * 16 * 3, False, 64 * 16 + 48)
    assert found.layers[0].bytes == 16 * 2 * 16 + 4 * 32


@pytest.mark.parametrize("dims", [(2**62, 2**62), (2**63 - 1, 2), (2**40, 2**40, 2**40)])
def test_sizes_beyond_any_machine_are_one_line(tmp_path: Path, dims: tuple[int, ...]) -> None:
    path = convolution(tmp_path, 1, 3, *dims)
    with pytest.raises(ModelFileError, match="beyond any machine"):
        inspect(path)


def test_a_file_beside_it_that_was_never_fetched(tmp_path: Path) -> None:
    from .test_onnx import external

    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 140\n"
    with pytest.raises(ModelFileError, match=r"weights\.bin is a Git LFS pointer"):
        inspect(external(tmp_path, "weights.bin", pointer))
