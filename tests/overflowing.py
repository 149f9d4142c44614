"""Networks whose values come near the end of half precision, or leave it."""

from __future__ import annotations

import torch
from torch import nn

from care_mobile.models.care import CARE, LinearAttention
from care_mobile.models.lively import draw


@torch.no_grad()
def amplified(care: CARE, factor: float, seed: int = 0) -> CARE:
    """`care` with lively weights and all its activations about `factor` times as large.

    Everything after the stem but GELU's bend is homogeneous: what leaves the stem scales the rest.
    """
    draw(care, seed)
    care.stem[1].weight *= factor
    care.stem[1].bias *= factor
    return care.eval()


@torch.no_grad()
def largest_activation(network: nn.Module, x: torch.Tensor) -> float:
    """The largest magnitude that any module without parts yields, attention among them."""
    found: list[float] = []

    def note(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        found.append(output.abs().max().item())

    parts = [m for m in network.modules() if not list(m.children())]
    assert any(isinstance(part, LinearAttention) for part in parts)
    handles = [part.register_forward_hook(note) for part in parts]
    network(x)
    for handle in handles:
        handle.remove()
    return max(found)


class Squares(nn.Module):
    """Products beyond half precision, and their quotients, which are of order one again."""

    def __init__(self, scale: float = 40.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.scale = scale
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x)) * self.scale
        grown = x * x * x
        x = grown / (1.0 + grown.amax((2, 3), keepdim=True))
        return self.fc(x.mean((2, 3)))


class LargeLogits(nn.Module):
    """Softmax attention whose logits reach 10^5."""

    def __init__(self, scale: float = 300.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.scale = scale
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) * self.scale
        logits = tokens @ tokens.transpose(1, 2)
        mixed = torch.softmax(logits / 1e4, dim=-1) @ tokens
        return self.fc(mixed.mean(1) / self.scale)


class RootMeanSquare(nn.Module):
    """RMS normalisation written out, of values of some hundred."""

    def __init__(self, scale: float = 400.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.scale = scale
        self.eps = eps
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x) * self.scale
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)
        return self.fc(x.mean((2, 3)))


class Cancelling(nn.Module):
    """A small difference of large sums: in range, but without digits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(self.stem(x))
        large = x + 300.0
        return self.fc((large - 300.0).mean((2, 3)))


def squares() -> nn.Module:
    torch.manual_seed(0)
    return Squares().eval()


def large_logits() -> nn.Module:
    torch.manual_seed(0)
    return LargeLogits().eval()


def root_mean_square() -> nn.Module:
    torch.manual_seed(0)
    return RootMeanSquare().eval()


def root_mean_square_of_zeros() -> nn.Module:
    """Values in range, but an epsilon that half precision has not: 0 / 0 on zeros."""
    torch.manual_seed(0)
    return RootMeanSquare(1.0, 1e-12).eval()


def cancelling() -> nn.Module:
    torch.manual_seed(0)
    return Cancelling().eval()
