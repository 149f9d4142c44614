from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from care_mobile.bundle import Bundle, TensorSpec

Arrays = list[NDArray[Any]]
TWO_INPUTS = (TensorSpec(name="x", shape=(None, 3)), TensorSpec(name="y", shape=(1, 3)))
TWO_OUTPUTS = (
    TensorSpec(name="sum", shape=(None, 3)),
    TensorSpec(name="difference", shape=(None, 3)),
)


def onnx_model() -> bytes:
    """`sum` = x + y and `difference` = x - y, for x (n, 3) and y (1, 3)."""
    from onnx import TensorProto, helper

    def value(name: str, rows: int | str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 3])

    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["x", "y"], ["difference"]),
            helper.make_node("Add", ["x", "y"], ["sum"]),
        ],
        "tiny",
        [value("x", "n"), value("y", 1)],
        [value("difference", "n"), value("sum", "n")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def pte_model() -> bytes:
    """The same function for x (2, 3), with XNNPACK. Takes seconds."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + y, x - y

    program = torch.export.export(Net().eval(), (torch.zeros(2, 3), torch.zeros(1, 3)))
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    return bytes(edge.to_executorch().buffer)


@pytest.fixture
def onnx_bundle(write_bundle: Callable[..., Path]) -> Bundle:
    path = write_bundle("onnx", onnx_model(), inputs=TWO_INPUTS, outputs=TWO_OUTPUTS)
    return Bundle.open(path)


@pytest.fixture
def pte_bundle(write_bundle: Callable[..., Path], pte_model: bytes) -> Bundle:
    inputs = (TensorSpec(name="x", shape=(2, 3)), TWO_INPUTS[1])
    path = write_bundle(
        "pte",
        pte_model,
        model_file="model.pte",
        runtime="executorch",
        target="executorch",
        inputs=inputs,
        outputs=TWO_OUTPUTS,
    )
    return Bundle.open(path)


@pytest.fixture
def feed() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((2, 3)).astype(np.float32),
        "y": rng.standard_normal((1, 3)).astype(np.float32),
    }
