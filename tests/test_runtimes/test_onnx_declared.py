"""ONNX files in their declared types: what ONNX Runtime's CPU leaves out is rounded here."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from care_mobile.errors import RuntimeFailure
from care_mobile.export.quantize.onnx_fp16 import halve
from care_mobile.runtimes.onnx_declared import in_declared_types, session_of

X = np.array([[1.0, 10.0, 1000.0, 0.1]], np.float32)


def model(*nodes: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    held = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    return made


def node(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def squared() -> onnx.ModelProto:
    """x^2 / (x^2 + 1): order one, by way of 10^6."""
    one = np.ones(1, np.float32)
    return model(
        node("Mul", ["x", "x"], "square"), node("Add", ["square", "one"], "more"),
        node("Div", ["square", "more"], "y"), one=one,
    )  # fmt: skip


def run(made: onnx.ModelProto) -> np.ndarray:
    return session_of(made).run(["y"], {"x": X})[0]


def test_overflow_shows_that_the_runtime_hides() -> None:
    half, _ = halve(squared())
    assert np.isfinite(run(half)).all(), "the reason for this module"
    have = run(in_declared_types(half))
    assert np.isnan(have[0, 2])
    assert np.isfinite(have[0, [0, 1, 3]]).all()


def test_every_result_is_rounded() -> None:
    half, _ = halve(squared())
    x = X[:, [0, 1, 3]].astype(np.float16)
    square = x * x
    want = (square / (square + np.float16(1))).astype(np.float32)
    assert np.array_equal(run(in_declared_types(half))[:, [0, 1, 3]], want)


def test_without_rounding_it_is_exact() -> None:
    half, _ = halve(squared())
    assert np.allclose(run(in_declared_types(half, None)), X**2 / (X**2 + 1), rtol=1e-6)


def test_what_is_kept_in_the_file_equals_what_is_not_rounded() -> None:
    """The promise of a ranking: keeping a node in the file is leaving its result unrounded."""
    kept = ("square", "more")
    plain, _ = halve(squared())
    promised = run(in_declared_types(plain, kept))
    mixed, counts = halve(squared(), kept)
    onnx.checker.check_model(mixed, full_check=True)
    have = run(in_declared_types(mixed))
    assert np.allclose(have, promised, rtol=1e-3)
    assert np.isfinite(have).all()
    assert counts == {}
    types = {n.name: n for n in mixed.graph.node}
    assert {"square", "more", "y"} <= types.keys()


def test_one_kept_result_reaches_its_reader_unrounded() -> None:
    mixed, counts = halve(squared(), ("square",))
    makers = {o: n for n in mixed.graph.node for o in n.output}
    (more,) = (n for n in mixed.graph.node if n.name == "more")
    assert makers[more.input[0]].op_type == "Mul"
    assert counts == {}


def test_weights_beyond_half_precision_are_not_clipped() -> None:
    weight = np.full((4, 4), 1e5, np.float32)
    made = model(
        node("MatMul", ["x", "w"], "product"), node("Mul", ["product", "small"], "y"),
        w=weight, small=np.full(1, 1e-7, np.float32),
    )  # fmt: skip
    half, counts = halve(made)
    assert "MatMul" not in counts
    held = {t.name: t.data_type for t in half.graph.initializer}
    assert held["w"] == TensorProto.FLOAT
    want = (X @ weight) * np.float32(1e-7)
    assert np.allclose(run(half), want, rtol=0.2)


def test_subgraphs_are_rounded_too() -> None:
    half = TensorProto.FLOAT16
    inner = helper.make_graph(
        [node("Mul", ["h", "h"], "inside"), node("Sqrt", ["inside"], "then")], "then_graph", [],
        [helper.make_tensor_value_info("then", half, [1, 4])],
    )  # fmt: skip
    other = helper.make_graph(
        [node("Identity", ["h"], "else")], "else_graph", [],
        [helper.make_tensor_value_info("else", half, [1, 4])],
    )  # fmt: skip
    made = model(
        node("Cast", ["x"], "h", to=half),
        node("If", ["yes"], "chosen", then_branch=inner, else_branch=other),
        node("Cast", ["chosen"], "y", to=TensorProto.FLOAT),
        yes=np.array(True),
    )
    assert np.isinf(run(in_declared_types(made))[0, 2])
    assert np.allclose(run(in_declared_types(made, None)), X, rtol=1e-3)


def test_a_graph_that_the_runtime_refuses_is_one_error() -> None:
    broken = model(node("Relu", ["x"], "y"))
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(RuntimeFailure, match="onnxruntime refuses"):
        session_of(broken)
