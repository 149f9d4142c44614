"""Rewrites of ONNX graphs: structure, numbers, refusals, and a second run that finds nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import Classifier, Upsampler, tiny_care
from onnx import TensorProto, helper, numpy_helper

from care_mobile.export.targets import Lowered
from care_mobile.export.targets.onnx_rewrites import FOR_FLOAT, REWRITES, rewrite

from .onnx_models import Subject, as_ir, images, run, subject

PLACES = {
    "heads-before-elementwise": 3,  # blocks with attention
    "scaled-sums-to-convolutions": 5,  # blocks but the last
    "local-branches-over-all-channels": 3,  # blocks without attention: groups of 8
    "adjacent-branches-together": 3,
    "concatenations-of-convolutions": 6,
}
BEFORE = dict.fromkeys(("adaptive-averages", "adaptive-maxima", "own-divisors"), 0)
"""Of the captured program: what this network has not."""

Exported = tuple[Lowered, onnx.ModelProto]


@pytest.fixture(scope="module")
def care() -> Subject:
    return subject(tiny_care())


@pytest.fixture(scope="module")
def exported(care: Subject, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return care.lower(tmp_path_factory.mktemp("care"))


def by_type(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_places(exported: Exported) -> None:
    assert exported[0].rewrites == BEFORE | PLACES
    assert list(PLACES) == list(REWRITES)


def test_numbers(care: Subject, exported: Exported) -> None:
    image = images(1, seed=5)
    (want,) = care.reference(image)
    (have,) = run(exported[1], image)
    assert np.abs(want - have).max() < 2e-5 * max(1.0, np.abs(want).max())


def test_structure(exported: Exported) -> None:
    found = by_type(exported[1])
    assert "Mul" not in found or found["Mul"] == 3  # one per attention: v / N
    assert found["Split"] == 2 * 3  # per attention its block's groups, queries and keys
    assert found["Concat"] == 2 * 3  # none in local blocks
    assert found["Gelu"] == 2 * 6 + 1
    weights = {tensor.name: tuple(tensor.dims) for tensor in exported[1].graph.initializer}
    kernels = Counter(weights[n.input[1]] for n in exported[1].graph.node if n.op_type == "Conv")
    assert kernels[32, 1, 7, 7] == 3 + 3  # all channels of 3 local blocks, two groups of 3 others
    assert kernels[32, 1, 11, 1] == kernels[32, 1, 1, 11] == 3


def test_the_runtime_reorders_only_around_attention(exported: Exported) -> None:
    loaded = exported[0].census.runtime_by_type
    assert loaded.get("Add", 0) <= 2 * 3  # inside attention; every other sum is a convolution's
    assert "Mul" not in loaded


def test_initializers_that_nothing_reads_are_gone(exported: Exported) -> None:
    graph = exported[1].graph
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read
    assert len({node.name for node in graph.node}) == len(graph.node)


def test_a_second_run_finds_nothing(exported: Exported) -> None:
    model = as_ir(exported[1])
    assert set(rewrite(model).values()) == {0}


def test_integers_keep_their_layout(care: Subject, exported: Exported) -> None:
    model = as_ir(exported[1])
    assert set(rewrite(model, integers=True)) == set(REWRITES) - FOR_FLOAT


def test_maps_of_all_stages_keep_their_names(tmp_path: Path) -> None:
    pyramid = subject(tiny_care(features_only=True))
    lowered, model = pyramid.lower(tmp_path)
    assert [output.name for output in model.graph.output] == [f"features_{i}" for i in range(4)]
    assert lowered.rewrites["scaled-sums-to-convolutions"] == 5
    image = images(1)
    for want, have in zip(pyramid.reference(image), run(model, image), strict=True):
        assert np.abs(want - have).max() < 2e-5 * max(1.0, np.abs(want).max())


def test_a_free_batch(tmp_path: Path) -> None:
    free = subject(tiny_care(), dynamic_batch=True)
    lowered, model = free.lower(tmp_path)
    assert lowered.rewrites == BEFORE | PLACES | {"heads-before-elementwise": 0}
    image = images(3)
    (want,) = free.reference(image)
    (have,) = run(model, image)
    assert np.abs(want - have).max() < 2e-5 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("network", [Classifier(), Upsampler()])
def test_other_networks_are_left_alone(network: Classifier | Upsampler, tmp_path: Path) -> None:
    other = subject(network)
    lowered, model = other.lower(tmp_path)
    assert set(lowered.rewrites.values()) == {0}
    image = images(1)
    for want, have in zip(other.reference(image), run(model, image), strict=True):
        assert np.abs(want - have).max() < 1e-4


def scaled_sum(factor: np.ndarray, *, reads: int = 1) -> onnx.ModelProto:
    """conv(x) + factor x, then + x; `reads` is how often the product is read."""
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32)[:, :, None, None], "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], name="conv"),
        helper.make_node("Mul", ["x", "f"], ["p"], name="mul"),
        helper.make_node("Add", ["h", "p"], ["s"], name="inner"),
        helper.make_node("Add", ["s", "x"], ["y"], name="outer"),
    ]
    outputs = ["y", "z"][:reads]
    if reads == 2:
        nodes.append(helper.make_node("Relu", ["p"], ["z"], name="relu"))
    shape = (1, 4, 5, 5)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
        [weight, numpy_helper.from_array(factor.astype(np.float32), "f")],
        value_info=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "hps"
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("factor", "reads", "places"),
    [
        (np.arange(1, 5).reshape(4, 1, 1), 1, 1),
        (np.arange(1, 5).reshape(1, 4, 1, 1), 1, 1),
        (np.arange(1, 5).reshape(4, 1, 1), 2, 0),
        (np.array(3.0), 1, 0),
        (np.arange(1, 6).reshape(1, 1, 5), 1, 0),
        (np.ones((4, 5, 5)), 1, 0),
    ],
)
def test_which_factors_become_convolutions(factor: np.ndarray, reads: int, places: int) -> None:
    model = as_ir(scaled_sum(factor, reads=reads))
    assert rewrite(model)["scaled-sums-to-convolutions"] == places
