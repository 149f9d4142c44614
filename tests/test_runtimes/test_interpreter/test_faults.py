"""Faults planted in saved packages, as converters and hands make them: parity must fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from converted import Array, convert, eager, picture
from torch import Tensor, nn

from care_mobile.bundle import Parity
from care_mobile.coreml import open_package
from care_mobile.coreml.schema import parse
from care_mobile.export.parity import ORDINARY, compare
from care_mobile.models.lively import draw
from care_mobile.runtimes.interpreter import Interpreter


class Network(nn.Module):
    """A strided convolution, a product of two tensors, a quotient by a reciprocal, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, 2, padding=1)
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.conv(x)).flatten(2)
        square = features @ features.transpose(1, 2)
        total = 1e-3 * square.mean((1, 2), keepdim=True)
        return self.fc((square * 1e-3 * torch.reciprocal(total)).mean(1))


IMAGE = picture(32, 32)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    network = Network()
    draw(network, 0)
    return network.eval().requires_grad_(False)


@pytest.fixture
def saved(network: nn.Module, tmp_path: Path) -> Path:
    """The network as a package whose reciprocal is right: coremltools writes 1 / (x + 1e-4)."""
    path = tmp_path / "network.mlpackage"
    convert(network, IMAGE, path)
    edit(path, lambda model: set_number(find(model, "inverse"), "epsilon", 0.0))
    return path


def edit(path: Path, change: Callable[[Any], None]) -> None:
    file = path / "Data/com.apple.CoreML/model.mlmodel"
    model = parse(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())


def operations(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def find(model: Any, operator: str) -> tuple[Any, Any]:
    """The program's operations and the first one of a type."""
    found = operations(model)
    return found, next(op for op in found if op.type == operator)


def value(where: tuple[Any, Any], parameter: str) -> Any:
    """The immediate tensor that an operation has for a parameter."""
    found, operation = where
    binding = operation.inputs[parameter].arguments[0]
    if not binding.name:
        return binding.value.immediateValue.tensor
    const = next(op for op in found if op.outputs[0].name == binding.name)
    return const.attributes["val"].immediateValue.tensor


def set_number(where: tuple[Any, Any], parameter: str, number: float) -> None:
    value(where, parameter).floats.values[0] = number


def flip(where: tuple[Any, Any], parameter: str) -> None:
    flags = value(where, parameter).bools.values
    flags[0] = not flags[0]


def shift_padding(model: Any) -> None:
    """(1, 1) before and after becomes (2, 0) along the height: shapes stay, results move."""
    sizes = value(find(model, "conv"), "pad").ints.values
    assert list(sizes) == [1, 1, 1, 1]
    sizes[0], sizes[1] = 2, 0


def drop_bias(model: Any) -> None:
    _, operation = find(model, "conv")
    del operation.inputs["bias"]


def swap_flags(model: Any) -> None:
    where = find(model, "matmul")
    flip(where, "transpose_x")
    flip(where, "transpose_y")


def judge(path: Path, network: nn.Module) -> Parity:
    output: Array = Interpreter(open_package(path)).run({"image": IMAGE})["output"]
    reference = eager(network, IMAGE).astype(np.float32)
    probes = ORDINARY[0]
    return compare({probes: [reference]}, {probes: [output]}, "coreml", "fp32", "interpreter")


def test_the_package_as_it_should_be_is_verified(saved: Path, network: nn.Module) -> None:
    assert judge(saved, network).status == "verified"


def test_the_converters_own_epsilon_is_caught(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "network.mlpackage"
    convert(network, IMAGE, path)
    model = parse((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())
    assert value(find(model, "inverse"), "epsilon").floats.values[0] == pytest.approx(1e-4)
    assert judge(path, network).status == "failed"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            lambda model: set_number(find(model, "inverse"), "epsilon", 1e-4), id="epsilon"
        ),
        pytest.param(shift_padding, id="padding"),
        pytest.param(drop_bias, id="bias"),
    ],
)
def test_faults_that_keep_every_shape_are_caught(
    saved: Path, network: nn.Module, fault: Callable[[Any], None]
) -> None:
    edit(saved, fault)
    assert judge(saved, network).status == "failed"


def test_swapped_matmul_flags_are_caught(tmp_path: Path) -> None:
    """On square factors, where no shape gives the fault away."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0] @ x[:, 1].transpose(-1, -2)

    path = tmp_path / "product.mlpackage"
    convert(Product(), IMAGE, path)

    def verdict() -> str:
        output = Interpreter(open_package(path)).run({"image": IMAGE})["output"]
        reference = [eager(Product(), IMAGE).astype(np.float32)]
        return compare({"seeded": reference}, {"seeded": [output]}, "coreml", "fp32", "").status

    assert verdict() == "verified"
    edit(path, swap_flags)
    assert verdict() == "failed"
