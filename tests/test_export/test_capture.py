from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from networks import Deciding, Upsampler, lively, tiny_care
from torch import Tensor, nn

from care_mobile.bundle import TensorSpec
from care_mobile.errors import ModelError
from care_mobile.export import probes
from care_mobile.export.capture import capture, input_spec, output_specs, plain_array
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.rewrites import SPLITS_TO_SLICES, apply
from care_mobile.export.targets import Variant
from care_mobile.inputs import Preprocessing, Resolution, probe_sets
from care_mobile.models.care import LinearAttention

ABOUT = Preprocessing(resolution=Resolution(width=64, height=48))


def proven(**options: object) -> torch.nn.Module:
    model = lively(tiny_care(**options)).float()
    return reparameterize(model, DEFAULT, ABOUT, lively=True).model


def test_the_program_answers_like_the_network() -> None:
    model = proven()
    program = capture(model, ABOUT, Variant())
    x = torch.randn(1, 3, 48, 64)
    assert torch.allclose(program.module()(x)[0], model(x), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_a_free_batch(batch: int) -> None:
    model = proven()
    program = capture(model, ABOUT, Variant(dynamic_batch=True))
    x = torch.randn(batch, 3, 48, 64)
    assert torch.allclose(program.module()(x)[0], model(x), atol=1e-5)
    assert input_spec(ABOUT, Variant(dynamic_batch=True), False).shape == (None, 3, 48, 64)


def test_softmax_for_classifiers_with_labels() -> None:
    model = proven()
    x = torch.randn(1, 3, 48, 64)
    (got,) = capture(model, ABOUT, Variant(softmax=True)).module()(x)
    assert torch.allclose(got, torch.softmax(model(x), -1), atol=1e-6)


def specs(network: nn.Module, **variant: bool) -> tuple[TensorSpec, ...]:
    chosen = Variant(**variant)
    return output_specs(capture(network.eval(), ABOUT, chosen), chosen)


class Returning(nn.Module):
    """What `outputs` makes of the image and a constant."""

    def __init__(self, outputs: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("anchors", torch.rand(100, 4))

    def forward(self, x: Tensor) -> object:
        return self.outputs(x, self.anchors)


def test_output_names() -> None:
    row, grid = Returning(lambda x, _: x.mean((2, 3))), Returning(lambda x, _: x * 2)
    assert specs(row)[0].name == "logits"
    assert specs(row, softmax=True)[0].name == "probabilities"
    assert specs(grid)[0].name == "output"
    two = Returning(lambda x, _: (x * 2, x * 3))
    assert [s.name for s in specs(two)] == ["features_0", "features_1"]


def test_outputs_are_what_the_program_returns() -> None:
    def outputs(x: Tensor, anchors: Tensor) -> object:
        flat = x.flatten(1)
        return x * 2, anchors, flat.argmax(1), flat.sum(), flat > 0, {"same": x, "again": [x]}

    size = 3 * ABOUT.resolution.height * ABOUT.resolution.width
    found = [(spec.shape, spec.dtype) for spec in specs(Returning(outputs))]
    assert found == [
        ((1, 3, 48, 64), "float32"),
        ((100, 4), "float32"),
        ((1,), "int64"),
        ((), "float32"),
        ((1, size), "bool"),
        ((1, 3, 48, 64), "float32"),
        ((1, 3, 48, 64), "float32"),
    ]
    free = specs(Returning(outputs), dynamic_batch=True)
    shapes = [spec.shape for spec in free]
    assert shapes[:5] == [(None, 3, 48, 64), (100, 4), (None,), (), (None, size)]


@pytest.mark.parametrize(
    ("output", "dtype"),
    [
        (torch.tensor([1.5], dtype=torch.bfloat16), "float32"),
        (torch.tensor(3), "int64"),
        (nn.Parameter(torch.ones(2)), "float32"),
    ],
)
def test_outputs_of_the_eager_network_as_arrays(output: Tensor, dtype: str) -> None:
    array = plain_array(output)
    assert (str(array.dtype), array.tolist()) == (dtype, output.tolist())


def test_complex_outputs_are_refused() -> None:
    with pytest.raises(ModelError, match="returns complex64 numbers"):
        plain_array(torch.tensor(1j))


def test_feature_maps_are_captured() -> None:
    model = proven(features_only=True)
    maps = capture(model, ABOUT, Variant()).module()(torch.randn(1, 3, 48, 64))
    assert [m.shape[-2:] for m in maps] == [(12, 16), (6, 8), (3, 4), (1, 2)]


def test_a_network_that_cannot_be_captured() -> None:
    with pytest.raises(ModelError, match="cannot capture"):
        capture(Deciding().eval(), ABOUT, Variant())


def test_splits_become_slices() -> None:
    program = capture(proven(), ABOUT, Variant())
    x = torch.randn(1, 3, 48, 64)
    before = program.module()(x)[0]
    assert apply(program, [SPLITS_TO_SLICES])["splits-to-slices"] > 5
    targets = [str(node.target) for node in program.graph.nodes]
    assert not any("split" in target for target in targets)
    assert torch.equal(program.module()(x)[0], before)
    assert apply(program, [SPLITS_TO_SLICES])["splits-to-slices"] == 0


def test_the_delicate_probe_is_delicate() -> None:
    model = lively(tiny_care()).float()
    probe = probes.tiny_denominator(model, ABOUT)
    ordinary = probe_sets(ABOUT)["seeded"][:1]
    smallest = [probes._smallest_normalizer(model, ABOUT.normalize(u)) for u in (probe, ordinary)]
    assert smallest[0] < 0.5 * smallest[1]
    assert probe.shape == (1, 3, 48, 64)


def test_the_hooks_of_the_probe_are_gone() -> None:
    model = lively(tiny_care()).float()
    probes.tiny_denominator(model, ABOUT)
    hooks = [m._forward_pre_hooks for m in model.modules() if isinstance(m, LinearAttention)]
    assert hooks
    assert not any(hooks)


def test_a_network_without_attention_gets_an_almost_flat_probe() -> None:
    probe = probes.tiny_denominator(Upsampler().eval(), ABOUT)
    assert 0 < np.std(probe) < 1e-2
