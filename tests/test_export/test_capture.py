from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import Deciding, Upsampler, lively, tiny_care

from care_mobile.errors import ModelError
from care_mobile.export import probes
from care_mobile.export.capture import capture, input_spec, output_specs
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


def test_output_names() -> None:
    row, grid = torch.zeros(1, 10), torch.zeros(1, 4, 3, 2)
    assert output_specs([row], Variant())[0].name == "logits"
    assert output_specs([row], Variant(softmax=True))[0].name == "probabilities"
    assert output_specs([grid], Variant())[0].name == "output"
    assert [s.name for s in output_specs([grid, grid], Variant())] == ["features_0", "features_1"]
    assert output_specs([grid], Variant(dynamic_batch=True))[0].shape == (None, 4, 3, 2)


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
