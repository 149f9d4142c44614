"""Epsilons that half precision can hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from care_mobile.export.rewrites import NORMAL_EPSILONS, RECIPROCALS_TO_DIVISIONS, apply

SMALLEST_NORMAL = 2.0**-14


class Guarded(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(1, keepdim=True) + self.eps)


def rewritten(network: nn.Module, x: Tensor) -> tuple[int, Tensor, list[float]]:
    """Places, the new result, and every number below one left in the program."""
    program = torch.export.export(network.eval(), (x,))
    places = apply(program, [NORMAL_EPSILONS])["normal-epsilons"]
    numbers = [a for n in program.graph.nodes for a in n.args if isinstance(a, float) and a < 1]
    return places, program.module()(x), numbers


def test_a_guard_is_raised() -> None:
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    places, result, numbers = rewritten(Guarded(1e-6), x)
    assert (places, numbers) == (1, [SMALLEST_NORMAL])
    change = (result / Guarded(1e-6)(x) - 1).abs().max().item()
    smallest = x.square().mean(1).min().item()
    assert 0 < change <= 1.001 * SMALLEST_NORMAL / smallest


def test_zero_by_a_raised_guard_is_zero() -> None:
    program = torch.export.export(Guarded(1e-6), (torch.ones(1, 4),))
    apply(program, [NORMAL_EPSILONS])
    half = program.module()(torch.zeros(1, 4).half())
    assert torch.equal(half, torch.zeros(1, 4).half())


@pytest.mark.parametrize("eps", [1e-4, 1.0])
def test_normal_guards_stay(eps: float) -> None:
    assert rewritten(Guarded(eps), torch.ones(2, 4))[0] == 0


def test_other_sums_stay() -> None:
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x + 1e-6
            return x / y + y

    assert rewritten(Shifted(), torch.ones(2, 4))[0] == 0


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_layer_norm_is_exact(eps: float, affine: bool) -> None:
    network = nn.LayerNorm(8, eps=eps, elementwise_affine=affine).double()
    x = 1e-3 * torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    places, result, numbers = rewritten(network, x)
    assert places == 1
    assert min(numbers) >= SMALLEST_NORMAL
    assert torch.allclose(result, network(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1e-9, 1e-12])
def test_layer_norm_of_large_values_stays_in_range(eps: float) -> None:
    """An input of ten times 8192 would be infinite: c is bounded, its rest goes to the epsilon."""
    x = 4000.0 * torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    network = nn.LayerNorm(64, eps=eps)
    places, result, numbers = rewritten(network, x.half().float())
    assert places == 1
    assert min(numbers) >= SMALLEST_NORMAL
    program = torch.export.export(network.eval(), (x,))
    apply(program, [NORMAL_EPSILONS])
    scaled = [n for n in program.graph.nodes if n.target is torch.ops.aten.mul.Tensor]
    assert scaled[0].args[1] * x.abs().max() < 65504
    assert torch.allclose(result, network(x.half().float()), rtol=1e-5, atol=1e-6)
    small = 0.05 * x / 4000.0
    assert torch.allclose(program.module()(small), network(small), rtol=3e-3)


def test_layer_norm_with_a_normal_epsilon_stays() -> None:
    assert rewritten(nn.LayerNorm(8, eps=1e-3), torch.ones(2, 8))[0] == 0


class DividedGuard(nn.Module):
    """x / (x + eps / max(t, lowest)), the guard of a normaliser that was scaled down."""

    def __init__(self, lowest: float | None) -> None:
        super().__init__()
        self.lowest = lowest

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        if self.lowest is not None:
            total = torch.clamp(total, self.lowest, 65504.0)
        return x / (x.abs() + 1e-6 / total)


@pytest.mark.parametrize("divisions", [False, True])
@pytest.mark.parametrize(("lowest", "places"), [(1.0, 1), (2, 1), (0.5, 0), (None, 0)])
def test_a_guard_that_is_divided(lowest: float | None, places: int, divisions: bool) -> None:
    """Raised only where what divides it is known to be one or more."""
    program = torch.export.export(DividedGuard(lowest).eval(), (torch.ones(2, 4),))
    before = [RECIPROCALS_TO_DIVISIONS] if divisions else []
    found = apply(program, [*before, NORMAL_EPSILONS])
    assert found["normal-epsilons"] == places
    if places:
        half = program.module()(torch.zeros(2, 4).half())
        assert torch.equal(half, torch.zeros(2, 4).half())
