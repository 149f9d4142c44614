from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from care_mobile.errors import ModelError
from care_mobile.export.eager import answer, copied, flatten


class FirstUse(nn.Module):
    """Normalises by the first input it ever sees; counts its calls in a buffer and by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.register_buffer("calls", torch.zeros(()))
        self.ready = False
        self.total = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.scale.data = 1 / x.std((0, 2, 3), keepdim=True)[0]
            self.ready = True
        self.calls += 1
        self.total += 1
        return x.mul_(self.scale) * self.total


def test_a_network_with_state_stays_as_it_came() -> None:
    network, x = FirstUse().eval(), torch.randn(1, 3, 4, 4)
    before = x.clone()
    first = answer(network, x)[0]
    assert torch.equal(answer(network, x)[0], first)
    assert torch.equal(x, before)
    assert not network.ready and network.total == 0 and network.calls == 0
    assert torch.equal(network.scale, torch.ones(3, 1, 1))


@pytest.mark.filterwarnings("ignore")
def test_computed_weights_are_copied() -> None:
    network = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)))
    network.extra = [network[0].weight * 2]  # a computed tensor inside a list
    twin = copied(network)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(twin(x), network(x))
    assert torch.equal(twin.extra[0], network.extra[0])
    assert twin.extra[0] is not network.extra[0] and not twin.training
    assert not any(p.requires_grad for p in twin.parameters())


def test_what_is_no_tensor_is_refused() -> None:
    class Words(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, str]:
            return x, "words"

    with pytest.raises(ModelError, match="returns a str"):
        answer(Words(), torch.zeros(1))


@dataclass
class Answers:
    logits: Tensor
    features: Tensor | None = None


def test_outputs_in_any_container() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    nested = {"a": Answers(one), "b": (None, [two, None]), "c": Answers(two, one)}
    assert [output.item() for output in flatten(nested)] == [0.0, 1.0, 1.0, 0.0]


def test_no_result_is_refused() -> None:
    with pytest.raises(ModelError, match="returns a NoneType"):
        flatten(None)
