"""Random weights for any architecture: of order one everywhere, nothing silent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES
from mobile_families import MOBILE_FAMILIES, Plain
from torch import Tensor, nn

from care_mobile.agreement import psnr_db
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.models.copying import copied
from care_mobile.models.lively import draw, examples

SIZE = (64, 64)
FORM = Preprocessing(resolution=Resolution(width=64, height=64))
NETWORKS = FAMILIES | MOBILE_FAMILIES
MIXING = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def drawn(family: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[family](SIZE).eval().requires_grad_(False)
    draw(network, seed, examples(FORM))
    return network


def sizes(network: nn.Module, x: Tensor) -> dict[str, float]:
    """Root mean square of what every layer and block gives."""
    found: dict[str, float] = {}

    def note(name: str) -> object:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if isinstance(output, Tensor):
                found[name] = float(output.square().mean().sqrt())

        return hook

    handles = [m.register_forward_hook(note(n)) for n, m in network.named_modules()]  # type: ignore[arg-type]
    network(x)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_activations_are_of_order_one_in_every_layer(family: str, seed: int) -> None:
    network = drawn(family, seed)
    torch.manual_seed(1)
    for x in (examples(FORM), torch.randn(4, 3, *SIZE)):
        found = sizes(network, x)
        # A layer that mixes, and every block; gates go down to what a sigmoid gives.
        assert {n: s for n, s in found.items() if not 0.02 < s < 30} == {}


@pytest.mark.parametrize("family", NETWORKS)
def test_no_branch_is_silent(family: str) -> None:
    network = drawn(family)
    x = examples(FORM)
    want = network(x)
    for name, module in network.named_modules():
        if isinstance(module, MIXING) and "weight" in dict(module.named_parameters(recurse=False)):
            kept = module.weight.clone()
            module.weight.zero_()
            change = float((network(x) - want).norm() / want.norm())
            assert change > 2e-4, name
            module.weight.copy_(kept)
    assert torch.equal(network(x), want)


@pytest.mark.parametrize("family", NETWORKS)
def test_rounding_stays_rounding(family: str) -> None:
    """What made other targets differ by a few decibels: networks that amplify their noise."""
    network = drawn(family)
    torch.manual_seed(1)
    for x in (examples(FORM), torch.randn(4, 3, *SIZE)):
        exact = copied(network).double()(x.double()).numpy()
        assert psnr_db(exact, network(x).double().numpy()) > 100


@pytest.mark.parametrize("family", NETWORKS)
def test_answers_depend_on_the_image(family: str) -> None:
    answers = drawn(family)(examples(FORM)).flatten(1)
    spread = (answers[0] - answers[1]).norm() / answers.norm(dim=1).mean()
    assert spread > 0.05


def test_seeds_and_names_decide() -> None:
    first, again, other = drawn("levit"), drawn("levit"), drawn("levit", seed=1)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first(examples(FORM)), other(examples(FORM)))


def test_sums_of_another_order_lead_to_the_same_weights() -> None:
    single, double = (NETWORKS["casvit"](SIZE).eval() for _ in range(2))
    double.double()
    for network in (single, double):
        draw(network, 0, examples(FORM))
    pairs = zip(single.state_dict().items(), double.state_dict().values(), strict=True)
    unequal = [n for (n, a), b in pairs if not torch.equal(a.double(), b.double())]
    assert unequal == []


class Counting(nn.Module):
    """State that counts its uses; a batch of one only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1.0
        self.calls += 1
        return self.conv(x).reshape(1, -1)[:, :40]


def test_the_network_itself_is_not_run() -> None:
    network = Counting().eval()
    draw(network, 0, examples(FORM))
    assert (network.calls, float(network.seen)) == (0, 0.0)
    assert 0.3 < float(network(examples(FORM)[:1]).detach().std()) < 3


def test_wrapped_weights_are_drawn_too() -> None:
    network = Plain().eval().requires_grad_(False)
    draw(network, 0, examples(FORM))
    network(examples(FORM))  # old wrappers compute their weight then
    for module in (network.normed, network.parametrized, network.spectral, network.spectral_too):
        matrix = module.weight.flatten(1).double().numpy()
        assert 0.5 < np.linalg.norm(matrix, 2) < 4
    assert torch.linalg.matrix_norm(network.spectral.weight.flatten(1), 2) < 1.1


@pytest.mark.parametrize("channels", [1, 3])
def test_examples(channels: int) -> None:
    form = FORM.model_copy(update={"mean": (0.5,) * channels, "std": (0.25,) * channels})
    x = examples(form)
    assert x.shape == (4, channels, *SIZE)
    assert form.holds_pixels(x.numpy())
    assert torch.equal(x, examples(form))
