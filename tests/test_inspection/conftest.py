"""Small files of each kind, written by the tools that write real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WriteOnnx = Callable[..., Path]


def write_small_package(path: Path) -> Path:
    """A convolution, an fp32 detour, a gather: one of every outlook."""
    from ml_programs import mb, write_package

    def build(image: Any) -> Any:
        weight = np.full((8, 3, 3, 9), 0.5, np.float16)
        x = mb.conv(x=image, weight=weight, bias=np.ones(8, np.float16), name="stem")
        x = mb.gather(x=x, indices=np.int32([0, 1, 2, 3]), axis=1, name="picked")
        x = mb.reduce_mean(x=x, axes=[2, 3], name="pooled")
        x = mb.linear(x=x, weight=np.full((5, 4), 0.5, np.float16), name="head")
        return mb.cast(x=x, dtype="fp32", name="logits")

    return write_package(path, build, {"image": np.zeros((1, 3, 32, 32), np.float16)})


@pytest.fixture(scope="session")
def small_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_package(tmp_path_factory.mktemp("coreml") / "small.mlpackage")


def float_input(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def write_onnx(
    path: Path, nodes: list[Any], weights: dict[str, Any], *inputs: Any, **model: Any
) -> Path:
    """A graph from `inputs` to `y`."""
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", list(inputs), [output], initializers)
    opsets = [helper.make_opsetid("", 20), *model.pop("opsets", [])]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="tests", **model)
    made.ir_version = 10
    onnx.save_model(made, str(path))
    return path


@pytest.fixture
def small_onnx(tmp_path: Path) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="stem"),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="head", transB=1),
    ]
    weights = {
        "w": np.ones((8, 3, 3, 3), np.float32),
        "b": np.ones(8, np.float32),
        "v": np.ones((5, 8), np.float32),
    }
    return write_onnx(tmp_path / "small.onnx", nodes, weights, float_input("x", 1, 3, 10, 10))
