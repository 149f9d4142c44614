"""Half precision and 8-bit integers for ONNX: structure, numbers, layers kept in float."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import Classifier, tiny_care

from care_mobile.errors import TargetError
from care_mobile.export.quantize.onnx_fp16 import BLOCKED
from care_mobile.export.quantize.onnx_int8 import MAX_TAPS, MIN_CHANNELS, choose
from care_mobile.export.targets import Lowered

from ..test_targets.onnx_models import Subject, images, psnr, run, subject

Exported = tuple[Lowered, onnx.ModelProto]


@pytest.fixture(scope="module")
def care() -> Subject:
    return subject(tiny_care())


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calibration") / "images.npz"
    np.savez(path, images=images(4, seed=1))
    return path


@pytest.fixture(scope="module")
def fp16(care: Subject, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return care.lower(tmp_path_factory.mktemp("fp16"), precision="fp16")


@pytest.fixture(scope="module")
def int8(care: Subject, calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return care.lower(tmp_path_factory.mktemp("int8"), precision="int8", calibration=calibration)


def interface(model: onnx.ModelProto) -> list[tuple[str, int]]:
    values = (*model.graph.input, *model.graph.output)
    return [(value.name, value.type.tensor_type.elem_type) for value in values]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_interface_stays_float(precision: str, request: pytest.FixtureRequest) -> None:
    _, model = request.getfixturevalue(precision)
    single = onnx.TensorProto.FLOAT
    assert interface(model) == [("image", single), ("logits", single)]


@pytest.mark.parametrize(("precision", "least"), [("fp16", 55.0), ("int8", 25.0)])
def test_numbers(
    precision: str, least: float, care: Subject, request: pytest.FixtureRequest
) -> None:
    _, model = request.getfixturevalue(precision)
    image = images(1, seed=5)
    (want,) = care.reference(image)
    (have,) = run(model, image)
    assert psnr(want, have) > least
    assert not np.array_equal(want, have)


def test_half_precision_holds_all_weights(fp16: Exported) -> None:
    lowered, model = fp16
    maps = [t for t in model.graph.initializer if len(t.dims) == 4]
    assert maps
    assert {t.data_type for t in maps} == {onnx.TensorProto.FLOAT16}
    assert lowered.rewrites["fp16-Conv"] == sum(n.op_type == "Conv" for n in model.graph.node)
    assert not any(f"fp16-{name}" in lowered.rewrites for name in BLOCKED)
    # Input and output, and around the normalisation its input, scale, bias and output.
    assert sum(n.op_type == "Cast" for n in model.graph.node) <= 2 + 4


def integer_layers(model: onnx.ModelProto) -> Counter[str]:
    """Operators all of whose maps come from and go to integers, by type."""
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    return Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm") and made.get(node.input[1]) == "DequantizeLinear"
    )


def test_what_becomes_integer(int8: Exported) -> None:
    lowered, model = int8
    weights = {t.name: t for t in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        origin = made.get(node.input[1])
        weight = weights[origin.input[0] if origin is not None else node.input[1]]
        full = len(weight.dims) == 4 and weight.dims[1] > 1
        if full:
            wide = min(weight.dims[0], math.prod(weight.dims[1:])) >= MIN_CHANNELS
            assert (weight.data_type == onnx.TensorProto.INT8) == wide, node.name
        elif math.prod(weight.dims[2:]) > MAX_TAPS:
            assert weight.data_type == onnx.TensorProto.FLOAT, node.name
    assert integer_layers(model)["Conv"] == lowered.rewrites["int8-Conv"] > 10
    assert lowered.rewrites["int8-Gelu"] == sum(n.op_type == "Sigmoid" for n in model.graph.node)
    assert "int8-MatMul" not in lowered.rewrites  # products of attention


def test_one_scale_per_output_channel(int8: Exported) -> None:
    tensors = {t.name: t for t in int8[1].graph.initializer}
    scales = {
        node.input[0]: tensors[node.input[1]]
        for node in int8[1].graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors
    }
    weights = {name: scale for name, scale in scales.items() if len(tensors[name].dims) == 4}
    assert weights
    for name, scale in weights.items():
        assert list(scale.dims) == [tensors[name].dims[0]]


def test_the_runtime_computes_in_integers(int8: Exported) -> None:
    loaded = int8[0].census.runtime_by_type
    assert loaded["QLinearConv"] == int8[0].rewrites["int8-Conv"]
    assert loaded["QLinearSigmoid"] == int8[0].rewrites["int8-Gelu"] > 3
    assert loaded["QLinearMul"] >= loaded["QLinearSigmoid"]
    assert "Sigmoid" not in loaded


def test_integers_are_deterministic(
    care: Subject, calibration: Path, int8: Exported, tmp_path: Path
) -> None:
    _, again = care.lower(tmp_path, precision="int8", calibration=calibration)
    assert again.SerializeToString() == int8[1].SerializeToString()


def test_layers_kept_in_float(
    care: Subject, calibration: Path, int8: Exported, tmp_path: Path
) -> None:
    _, model = care.lower(tmp_path / "float")
    names = [node.name for node in care.program.graph.nodes]
    wide = choose(model, ())
    outputs = {
        o for n in model.graph.node if n.name in wide and n.op_type == "Conv" for o in n.output
    }
    kept = tuple(name for name in names if name in outputs)[:2]
    assert len(kept) == 2
    lowered, mixed = care.lower(
        tmp_path / "mixed", precision="int8", calibration=calibration, keep_float=kept
    )
    assert lowered.rewrites["int8-Conv"] < int8[0].rewrites["int8-Conv"]
    made = {name: node for node in mixed.graph.node for name in node.output}
    for name in kept:
        (node,) = (n for n in mixed.graph.node if n.op_type == "Conv" and name in n.output)
        assert node.input[1] not in made


def test_layers_that_rewrites_renamed_are_kept_too(
    care: Subject, calibration: Path, int8: Exported, tmp_path: Path
) -> None:
    everything = tuple(node.name for node in care.program.graph.nodes)
    lowered, model = care.lower(
        tmp_path, precision="int8", calibration=calibration, keep_float=everything
    )
    assert not any(name.startswith("int8-") for name in lowered.rewrites)
    image = images(1)
    assert psnr(care.reference(image)[0], run(model, image)[0]) > 100


def test_a_narrow_network_stays_float(calibration: Path, tmp_path: Path) -> None:
    lowered, _ = subject(Classifier()).lower(tmp_path, precision="int8", calibration=calibration)
    assert not any(name.startswith("int8-") for name in lowered.rewrites)


def test_integers_need_images(care: Subject, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="int8 needs calibration images"):
        care.lower(tmp_path, precision="int8")
