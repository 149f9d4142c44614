"""Networks that are particular about what they are shown; also by name: `probed:pixel_lookup`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _stem(channels: int = 8, **options: object) -> nn.Conv2d:
    torch.manual_seed(7)
    return nn.Conv2d(3, channels, 3, 2, 1, **options)  # type: ignore[arg-type]


class Wrapped(nn.Module):
    """A stem with something in front of it or behind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _stem()


class UnitRange(Wrapped):
    """Takes pixels in 0..1 only (`--mean 0,0,0 --std 1,1,1`)."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and (x.min() < 0 or x.max() > 1):
            raise ValueError("pixels must be in 0..1")
        return self.stem(x)


class PixelLookup(nn.Module):
    """An embedding of every pixel in 0..1, as whole numbers in 0..255."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.table = nn.Embedding(256, 4)
        self.conv = nn.Conv2d(12, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = self.table((x * 255.0).round().long())  # (n, 3, h, w, 4)
        return self.conv(found.permute(0, 1, 4, 2, 3).flatten(1, 2))


class OneHot(nn.Module):
    """Histograms of pixels: one_hot refuses what is below zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.fc = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        counts = F.one_hot((x * 15.0).long(), 16).float().mean((2, 3))
        return self.fc(counts.flatten(1))


class Gamma(Wrapped):
    """A root of pixels in 0..1: NaN below zero."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stem(torch.sqrt(x))


class Bounded(Wrapped):
    """Accepts what normalised images are, not 30 times as much."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and x.abs().max() > 20:
            raise ValueError("implausible input")
        return self.stem(x)


class Overflowing(Wrapped):
    """exp of an exp: beyond float32 far from ordinary inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(torch.exp(2.0 * self.stem(x)))


class Fixed(Wrapped):
    """A mask of its own: the same minus infinity for every image."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(8)
        mask[2:4] = float("-inf")
        return self.stem(x).mean((2, 3)) + mask


class Masked(Wrapped):
    """Minus infinity where the image says so."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return x.masked_fill(x < 0, float("-inf"))


class Ratio(Wrapped):
    """0/0 for an image of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        x = x / x.abs().amax((1, 2, 3), keepdim=True)
        return self.stem(x)


class Nothing(Wrapped):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return ()


class InstanceNorm(nn.Module):
    """Flat images become zero, and their rounding noise is divided by the root of 1e-5."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = nn.Conv2d(3, 8, 4, 4)  # no padding: flat stays flat
        self.norm = nn.InstanceNorm2d(8)
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(F.relu(self.stem(x))))


class Highpass(nn.Module):
    """A filter whose taps add up to zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.conv = nn.Conv2d(3, 6, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight -= self.conv.weight.mean((2, 3), keepdim=True)
        self.mix = nn.Conv2d(6, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(F.avg_pool2d(self.conv(x), 2))


class AttentionLessItself(nn.Module):
    """What attention adds to a token; all tokens of a flat image are alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.qk = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k = self.qk(tokens).chunk(2, -1)
        return (q @ k.transpose(1, 2) / 4.0).softmax(-1) @ tokens - tokens


class Sharp(nn.Module):
    """Steep: far from ordinary inputs rounding is all that decides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = _stem(16)
        self.wide = nn.Conv2d(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.sin(100.0 * self.wide(x * x)).mean((2, 3))


class Classes(nn.Module):
    """A map of the best channel, the mask where it is strong, and the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _stem(8, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        return x, x.argmax(1), x > 0.5


def factory(kind: type[nn.Module]) -> nn.Module:
    return kind().eval()


def unit_range() -> nn.Module:
    return factory(UnitRange)


def pixel_lookup() -> nn.Module:
    return factory(PixelLookup)


def one_hot() -> nn.Module:
    return factory(OneHot)


def gamma() -> nn.Module:
    return factory(Gamma)


def bounded() -> nn.Module:
    return factory(Bounded)


def overflowing() -> nn.Module:
    return factory(Overflowing)


def fixed_mask() -> nn.Module:
    return factory(Fixed)


def masked() -> nn.Module:
    return factory(Masked)


def ratio() -> nn.Module:
    return factory(Ratio)


def instance_norm() -> nn.Module:
    return factory(InstanceNorm)


def highpass() -> nn.Module:
    return factory(Highpass)


def attention_less_itself() -> nn.Module:
    return factory(AttentionLessItself)


def sharp() -> nn.Module:
    return factory(Sharp)


def classes() -> nn.Module:
    return factory(Classes)
