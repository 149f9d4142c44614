"""All of a linear attention's inputs from one convolution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from care_mobile.export.equivalence import TOLERANCE, relative_error
from care_mobile.export.reparam import PassResult, attention_projection, linear_attention, trace
from care_mobile.export.reparam.attention_projection import ProjectedLinearAttention
from care_mobile.export.reparam.trace import run
from care_mobile.models.care import LinearAttention

from .support import kinds, lively, noise, reasons


class Mixer(nn.Module):
    def __init__(self, heads: int, d: int, **options: object) -> None:
        super().__init__()
        g = heads * d
        self.qk = nn.Conv2d(g, 2 * g, **({"kernel_size": 1} | options))  # type: ignore[arg-type]
        self.attention = LinearAttention(heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.qk(x), x)


@torch.no_grad()
def project(network: nn.Module, x: Tensor) -> PassResult:
    """The pass after the one it builds on; results must not move, a second run finds nothing."""
    graph = trace(lively(network), x)
    run(graph, x)
    first = linear_attention.CHANNEL_FIRST(graph).model
    before = run(first, x)  # the first of the three without cancellation for negative t
    result = attention_projection.PROJECT(first)
    assert relative_error([before], [run(result.model, x)]) <= TOLERANCE
    assert attention_projection.PROJECT(result.model).places == 0
    return result


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([0.1, 1.0, 30.0]),
)
def test_exact(heads: int, d: int, height: int, width: int, bias: bool, amplitude: float) -> None:
    x = amplitude * noise(2, heads * d, height, width)
    result = project(Mixer(heads, d, bias=bias), x)
    assert result.places == 1
    assert kinds(result.model, nn.Conv2d) == kinds(result.model, ProjectedLinearAttention) == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_queries(sign: float) -> None:
    """Every exponential underflows, or none is taken."""
    network = Mixer(2, 4)
    result = project(network, 1e4 * sign * noise(1, 8, 5, 5).abs())
    assert result.places == 1


def test_what_is_left() -> None:
    """One reading of the input, no reduction, no ELU, no transposition but a product's flag."""
    result = project(Mixer(2, 4), noise(1, 8, 6, 5))
    exported = torch.export.export(result.model, (noise(1, 8, 6, 5),))
    names = [str(n.target) for n in exported.graph.nodes if n.op == "call_function"]
    found = {part: sum(part in name for name in names) for part in ("conv", "bmm", "transpose")}
    assert found == {"conv": 1, "bmm": 3, "transpose": 1}
    assert not any(part in name for name in names for part in ("mean", "elu", "permute", "sum"))


@torch.no_grad()
def test_half_precision_keeps_its_range() -> None:
    """Activations of hundreds: their third power is far beyond 65,504."""
    x = 100 * noise(1, 32, 14, 14)
    result = project(Mixer(2, 16), x)
    want = run(result.model, x)
    have = result.model.half()(x.half())
    assert relative_error([want], [have.double()]) < 0.01


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel_size": 3, "padding": 1}, "no plain 1x1"),
        ({"kernel_size": 1, "groups": 2}, "no plain 1x1"),
    ],
)
def test_other_convolutions_are_refused(options: dict[str, int], reason: str) -> None:
    result = project(Mixer(2, 4, **options), noise(1, 8, 6, 6))
    assert result.places == 0
    assert reason in reasons(result)


def test_other_values_are_refused() -> None:
    class Other(Mixer):
        def forward(self, x: Tensor) -> Tensor:
            return self.attention(self.qk(x), torch.tanh(x))

    result = project(Other(2, 4), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "something else than the values" in reasons(result)


def test_queries_read_elsewhere_are_refused() -> None:
    class Twice(Mixer):
        def forward(self, x: Tensor) -> Tensor:
            qk = self.qk(x)
            return self.attention(qk, x) * qk.mean()

    result = project(Twice(2, 4), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "read elsewhere" in reasons(result)


def test_without_a_convolution() -> None:
    class Bare(Mixer):
        def forward(self, x: Tensor) -> Tensor:
            return self.attention(torch.cat((x, x), dim=1), x)

    result = project(Bare(2, 4), noise(1, 8, 6, 6))
    assert result.places == 0
    assert "no convolution" in reasons(result)


def test_unknown_shapes_are_refused() -> None:
    graph = trace(lively(Mixer(2, 4)), noise(1, 8, 4, 4))
    result = attention_projection.PROJECT(linear_attention.CHANNEL_FIRST(graph).model)
    assert result.places == 0
    assert "number of positions" in reasons(result)
