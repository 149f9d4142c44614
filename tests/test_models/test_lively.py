from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from care_mobile import create_model, load_weights
from care_mobile.errors import UsageError
from care_mobile.models.lively import draw


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 2, 1))


def state(seed: str) -> dict[str, torch.Tensor]:
    model = net()
    load_weights(model, f"random:{seed}")
    return model.state_dict()


def test_equal_seeds_give_equal_weights_whatever_else_was_drawn() -> None:
    torch.manual_seed(1)
    first = state("3")
    torch.manual_seed(2)
    second = state("3")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_seeds_differ() -> None:
    first, second = state("3"), state("4")
    assert not torch.equal(first["0.weight"], second["0.weight"])
    assert not torch.equal(first["1.running_mean"], second["1.running_mean"])


def test_a_tensor_depends_on_its_name_only() -> None:
    alone = nn.ModuleDict({"a": nn.Linear(5, 5)})
    with_more = nn.ModuleDict({"b": nn.Linear(7, 7), "a": nn.Linear(5, 5)})
    draw(alone, 0)
    draw(with_more, 0)
    assert torch.equal(alone["a"].weight, with_more["a"].weight)
    twins = nn.ModuleDict({"a": nn.Linear(5, 5), "b": nn.Linear(5, 5)})
    draw(twins, 0)
    assert not torch.equal(twins["a"].weight, twins["b"].weight)


def test_double_precision_gets_the_same_weights() -> None:
    single, double = net(), net().double()
    draw(single, 0)
    draw(double, 0)
    assert torch.equal(double[0].weight, single[0].weight.double())


def test_random_weights_say_so() -> None:
    weights = load_weights(net(), "random:12")
    assert weights.random
    assert (weights.source, weights.entry) == ("random:12", None)


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "x", " 1", "0x1", "²", str(2**63), "1" * 5000])
def test_malformed_seeds_are_refused(seed: str) -> None:
    with pytest.raises(UsageError, match="seed") as caught:
        load_weights(net(), f"random:{seed}")
    assert caught.value.exit_code == 2
    assert "random:0" in caught.value.hint


def test_the_largest_seed_works() -> None:
    assert load_weights(net(), f"random:{2**63 - 1}").random


def test_statistics_moved_and_scales_are_far_from_zero(lively_s0: nn.Module) -> None:
    for name, module in lively_s0.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean.abs().max() > 0.1, name
            assert module.running_var.min() > 0, name
            assert module.running_var.std() > 0.1 * module.running_var.mean(), name
            assert module.weight.std() > 0.1, name
    scales = [p for n, p in lively_s0.named_parameters() if n.endswith("gamma")]
    assert len(scales) == 17
    assert all(scale.min() >= 0.02 and scale.max() <= 0.15 for scale in scales)


def test_activations_stay_of_order_one(lively_s0: nn.Module) -> None:
    torch.manual_seed(0)
    assert 0.1 < lively_s0(torch.randn(2, 3, 64, 64)).std() < 10


def test_every_block_matters(lively_s0: nn.Module) -> None:
    torch.manual_seed(0)
    model = copy.deepcopy(lively_s0)
    x = torch.randn(1, 3, 64, 64)
    want = model(x)
    for name, gamma in model.named_parameters():
        if name.endswith("gamma"):
            kept = gamma.clone()
            gamma.zero_()
            change = (model(x) - want).norm() / want.norm()
            assert change > 5e-3, name
            gamma.copy_(kept)
    assert torch.equal(model(x), want)


def test_structure_is_left_alone() -> None:
    model = net()
    model.register_buffer("table", torch.arange(4.0))
    draw(model, 0)
    assert torch.equal(model.table, torch.arange(4.0))
    assert (model[2].weight == 0.25).all()
    assert model[1].num_batches_tracked == 0


def test_fresh_weights_would_not_do() -> None:
    """The reason for lively ones: a fresh network ignores its blocks."""
    model = create_model("care_s0", num_classes=10).eval().requires_grad_(False)
    x = torch.randn(1, 3, 64, 64)
    before = model(x)
    model.stages[2].blocks[3].gamma.zero_()
    assert (model(x) - before).norm() / before.norm() < 1e-3
