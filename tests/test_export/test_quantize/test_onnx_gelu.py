"""What stands for GELU between integers: its distance, and where it does not stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit, ndtr

from care_mobile.export.quantize.onnx_gelu import DISTANCE, SLOPE, gelus_in_integers

from ..test_targets.onnx_models import quiet, run

ALL = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * ndtr(x)


def between_integers(
    scale: float, zero: int, step: float, zero_out: int, **attributes: str
) -> onnx.ModelProto:
    """Integers (1, 4, 8, 8) -> GELU -> integers."""
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "scale", "zero"], ["x"]),
        helper.make_node("Gelu", ["x"], ["gelu"], name="node_gelu", **attributes),
        helper.make_node("QuantizeLinear", ["gelu", "step", "zero_out"], ["result"]),
    ]
    constants = {
        "scale": np.array(scale, np.float32),
        "zero": np.array(zero, np.uint8),
        "step": np.array(step, np.float32),
        "zero_out": np.array(zero_out, np.uint8),
    }
    shape = list(ALL.shape)
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("result", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        value_info=[helper.make_tensor_value_info("gelu", TensorProto.FLOAT, shape)],
    )
    opset = helper.make_opsetid("", 20)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


def test_the_slope_is_the_best_and_the_distance_is_its() -> None:
    x = np.linspace(-20, 20, 100_001)

    def distance(slope: float) -> float:
        return float(np.abs(x * expit(slope * x) - gelu(x)).max())

    assert DISTANCE - 1e-4 < distance(SLOPE) < DISTANCE
    assert all(distance(SLOPE + away) > distance(SLOPE) for away in (-0.001, 0.001))


@given(
    scale=st.floats(0.01, 0.3),
    zero=st.integers(0, 255),
    step=st.floats(DISTANCE + 1e-6, 0.3),
    zero_out=st.integers(0, 255),
)
def test_all_inputs_are_close(scale: float, zero: int, step: float, zero_out: int) -> None:
    model, count = gelus_in_integers(between_integers(scale, zero, step, zero_out), ())
    onnx.checker.check_model(model, full_check=True)
    assert count == 1
    (have,) = run(model, ALL)
    x = (ALL.astype(np.float64) - zero) * np.float32(scale)
    low, high = -zero_out * step, (255 - zero_out) * step
    error = (have.astype(np.float64) - zero_out) * step - np.clip(gelu(x), low, high)
    # Half a step is the result's own rounding, 0.007 the rounding of the sigmoid at its worst.
    assert np.abs(error).max() <= DISTANCE + step / 2 + 0.007


def test_the_runtime_takes_a_table_and_a_product(tmp_path: Path) -> None:
    model, _ = gelus_in_integers(between_integers(0.1, 128, 0.05, 10), ())
    settings = quiet()
    settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    loaded = onnx.load(settings.optimized_model_filepath)
    assert [n.op_type for n in loaded.graph.node] == ["QLinearSigmoid", "QLinearMul"]


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        pytest.param(between_integers(0.1, 128, 0.0139, 10), (), id="fine steps"),
        pytest.param(
            between_integers(0.1, 128, 0.05, 10, approximate="tanh"), (), id="another GELU"
        ),
        pytest.param(between_integers(0.1, 128, 0.05, 10), ("gelu",), id="kept"),
    ],
)
def test_what_stays_float(model: onnx.ModelProto, kept: tuple[str, ...]) -> None:
    same, count = gelus_in_integers(model, kept)
    assert count == 0
    assert [n.op_type for n in same.graph.node] == ["DequantizeLinear", "Gelu", "QuantizeLinear"]


def test_a_result_that_is_also_read_as_float_stays() -> None:
    model = between_integers(0.1, 128, 0.05, 10)
    shape = list(ALL.shape)
    model.graph.node.append(helper.make_node("Relu", ["gelu"], ["float"]))
    model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, shape))
    assert gelus_in_integers(model, ())[1] == 0


def test_a_gelu_of_floats_stays() -> None:
    model = between_integers(0.1, 128, 0.05, 10)
    del model.graph.node[0]
    model.graph.node[0].input[0] = "image"
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert gelus_in_integers(model, ())[1] == 0
