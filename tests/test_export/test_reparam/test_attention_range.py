"""Linear attention that stays in the range of half precision whatever its inputs' magnitude."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import tiny_care
from overflowing import amplified, largest_activation
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from care_mobile.export.equivalence import TOLERANCE, relative_error
from care_mobile.export.reparam import attention_projection, attention_range, linear_attention
from care_mobile.export.reparam.attention_range import MAX_LEAN, RANGE_SAFE, note_largest
from care_mobile.export.reparam.linear_attention import LARGEST, ChannelFirstLinearAttention
from care_mobile.export.reparam.trace import run, trace
from care_mobile.export.rewrites import NORMAL_EPSILONS, apply
from care_mobile.models.care import LinearAttention

from .support import lively, noise, reasons

LARGEST_HALF = 65504.0


class Mixer(nn.Module):
    def __init__(self, heads: int, d: int) -> None:
        super().__init__()
        self.qk = nn.Conv2d(heads * d, 2 * heads * d, 1)
        self.attention = LinearAttention(heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.qk(x), x)


class Extremes(TorchDispatchMode):
    """Notes the largest magnitude of any result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and result.numel():
            self.largest = max(self.largest, result.abs().max().item())
        return result


@torch.no_grad()
def stages(network: nn.Module, x: Tensor) -> tuple[nn.Module, nn.Module, nn.Module]:
    """The lean form, the range-safe one and its projected one, for what `x` shows."""
    note_largest(network, [x])
    graph = trace(network, x)
    lean = linear_attention.CHANNEL_FIRST(graph).model
    run(lean, x)
    safe = RANGE_SAFE(lean)
    assert safe.places == 1, reasons(safe)
    assert RANGE_SAFE(safe.model).places == 0
    run(safe.model, x)
    projected = attention_projection.PROJECT(safe.model)
    assert projected.places == 1
    return lean, safe.model, projected.model


@torch.no_grad()
def halved(model: nn.Module, x: Tensor) -> Tensor:
    """What a half-precision bundle computes: epsilons raised, then every value in fp16."""
    program = torch.export.export(copy.deepcopy(model).half(), (x.half(),))
    apply(program, [NORMAL_EPSILONS])
    return program.module()(x.half()).double()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([300.0, 1e3, 2e4]),
)
def test_exact(heads: int, d: int, height: int, width: int, amplitude: float) -> None:
    x = amplitude * noise(2, heads * d, height, width)
    network = lively(Mixer(heads, d))
    network.attention.largest = 1e9
    note = getattr(network.attention, LARGEST)
    graph = trace(network, x)
    lean = linear_attention.CHANNEL_FIRST(graph).model
    before = run(lean, x)
    assert next(
        m for m in lean.modules() if isinstance(m, ChannelFirstLinearAttention)
    ).largest == pytest.approx(note)
    safe = RANGE_SAFE(lean).model
    assert relative_error([before], [run(safe, x)]) <= TOLERANCE
    projected = attention_projection.PROJECT(safe).model
    assert relative_error([before], [run(projected, x)]) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("amplitude", [1e3, 2e4])
def test_half_precision_holds_every_value(amplitude: float) -> None:
    """Nothing exceeds the largest of q, k and v by more than rounding."""
    x = noise(1, 32, 14, 14)
    x = amplitude * x / x.abs().max()
    network = lively(Mixer(2, 16))
    with torch.no_grad():
        network.qk.weight *= amplitude / network.qk(x).abs().max()
    lean, safe, projected = stages(network, x)
    want = run(lean, x)
    with Extremes() as beyond:
        run(lean, x)
    assert beyond.largest > LARGEST_HALF
    for model in (safe, projected):
        with Extremes() as found:
            run(model, x)
        assert found.largest <= 1.01 * amplitude + 1
        assert relative_error([want], [halved(model, x)]) < 0.01


@torch.no_grad()
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_channels_without_keys_stay_finite(sign: float) -> None:
    """Where q sits on channels that k avoids the answer is the guard's: finite, about zero."""
    network = lively(Mixer(1, 8))
    x = 1e4 * noise(1, 8, 5, 5).abs()
    half = torch.tensor([1.0] * 4 + [-1.0] * 4, dtype=torch.float64)
    network.qk.weight.zero_()
    network.qk.bias.copy_(2e4 * sign * torch.cat((half, -half)))
    network.attention.largest = 1e9
    graph = trace(network, x)
    safe = RANGE_SAFE(linear_attention.CHANNEL_FIRST(graph).model).model
    want = run(safe, x)
    projected = attention_projection.PROJECT(safe).model
    for model in (safe, projected):
        have = halved(model, x)
        assert torch.isfinite(have).all()
        assert (have - want).abs().max() <= 1e-3 * x.max()


def test_small_values_keep_the_lean_form() -> None:
    x = noise(1, 8, 6, 6)
    network = lively(Mixer(2, 4))
    note_largest(network, [x])
    assert 0 < getattr(network.attention, LARGEST) < MAX_LEAN
    graph = trace(network, x)
    result = RANGE_SAFE(linear_attention.CHANNEL_FIRST(graph).model)
    assert result.places == 0
    assert "half precision holds it: the largest seen is" in reasons(result)


def test_looking_changes_nothing() -> None:
    class Counting(Mixer):
        def __init__(self) -> None:
            super().__init__(2, 4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    network = lively(Counting())
    note_largest(network, [noise(1, 8, 6, 6)])
    assert network.calls == 0
    assert not network.attention._forward_hooks


def test_what_is_noted() -> None:
    """The normaliser and the sums, the largest of several inputs."""
    network = lively(Mixer(2, 4))
    inputs = [noise(1, 8, 6, 6), 50 * noise(1, 8, 6, 6, seed=1)]
    note_largest(network, inputs)
    noted = getattr(network.attention, LARGEST)
    with torch.no_grad(), Extremes() as found:
        for x in inputs:
            rewritten = ChannelFirstLinearAttention(2, 0.0)
            rewritten(network.qk(x), x)
    # The form computes these two as products, and nothing larger: q and k grow with one power less.
    assert noted == pytest.approx(found.largest)


@torch.no_grad()
def test_a_care_whose_activations_reach_twenty_thousand() -> None:
    network = amplified(tiny_care(), 500.0)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    network.stem[1].weight *= 2e4 / largest_activation(network, x)
    network.stem[1].bias *= 2e4 / largest_activation(network, x)
    assert 5e3 < largest_activation(network, x) < 6e4
    attention_range.note_largest(network, [x])
    graph = trace(network.double(), x.double())
    result = RANGE_SAFE(linear_attention.CHANNEL_FIRST(graph).model)
    assert result.places > 0
