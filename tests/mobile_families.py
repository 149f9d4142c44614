"""More networks in the manner of those that phones run, whose weights are hard to draw.

Many parallel branches, products of branches, gates, attention that adds, tiny normalised heads,
deep stacks without any normalisation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from families import CLASSES, Head, SqueezeExcite, conv_bn
from torch import Tensor, nn
from torch.nn import functional as F


class MobileOneBlock(nn.Module):
    """Four 3x3 branches, a 1x1 and the identity, each normalised, then a gate."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.wide = nn.ModuleList(
            conv_bn(inputs, outputs, 3, stride, groups=groups) for _ in range(4)
        )
        self.point = conv_bn(inputs, outputs, 1, stride, groups=groups)
        self.same = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.excite = SqueezeExcite(outputs, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        total = self.point(x) if self.same is None else self.point(x) + self.same(x)
        for branch in self.wide:
            total = total + branch(x)
        return F.relu(self.excite(total))


def mobileone() -> nn.Module:
    layers: list[nn.Module] = [MobileOneBlock(3, 8, 2)]
    for _ in range(5):
        layers += [MobileOneBlock(8, 8, groups=8), MobileOneBlock(8, 8)]
    return nn.Sequential(*layers, MobileOneBlock(8, 16, 2), Head(16))


class AdditiveAttention(nn.Module):
    """CAS-ViT: query and key are gated by place and by channel, added, and multiply the value."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.gates = nn.ModuleList(
            nn.Sequential(
                conv_bn(channels, channels, 3, groups=channels, act="relu"),
                nn.Conv2d(channels, 1, 1, bias=False),
                nn.Sigmoid(),
            )
            for _ in range(2)
        )
        self.channels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())
            for _ in range(2)
        )
        self.mix = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.out = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, 1)
        q = self.channels[0](q * self.gates[0](q)) * q
        k = self.channels[1](k * self.gates[1](k)) * k
        return self.out(self.mix(q + k) * v)


class CASBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = conv_bn(channels, channels, 3, groups=channels, act="gelu")
        self.norm = nn.BatchNorm2d(channels)
        self.attention = AdditiveAttention(channels)
        self.mlp = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Conv2d(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.local(x)
        x = x + self.attention(self.norm(x))
        return x + self.mlp(x)


def casvit() -> nn.Module:
    blocks = [CASBlock(12) for _ in range(4)]
    return nn.Sequential(conv_bn(3, 12, 3, 2, act="relu"), *blocks, conv_bn(12, 16, 3, 2), Head(16))


class TalkingAttention(nn.Module):
    """EfficientFormerV2: heads that talk before and after the softmax, a bias per offset."""

    def __init__(self, channels: int, tokens: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (conv_bn(channels, channels, 1) for _ in range(3))
        self.local = conv_bn(channels, channels, 3, groups=channels)
        self.before, self.after = nn.Conv2d(heads, heads, 1), nn.Conv2d(heads, heads, 1)
        self.attention_biases = nn.Parameter(torch.zeros(heads, tokens))
        self.out = nn.Sequential(nn.GELU(), *conv_bn(channels, channels, 1))
        self.gamma = nn.Parameter(1e-5 * torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        q, k, v = (
            part(x).reshape(n, self.heads, -1, height * width) for part in (self.q, self.k, self.v)
        )
        scores = q.transpose(2, 3) @ k * (c // self.heads) ** -0.5
        scores = self.before(scores + self.attention_biases[:, None, :])
        weights = self.after(scores.softmax(-1))
        mixed = (weights @ v.transpose(2, 3)).transpose(2, 3).reshape(n, c, height, width)
        return x + self.gamma * self.out(mixed + self.local(v.reshape(n, c, height, width)))


def efficientformer(size: tuple[int, int]) -> nn.Module:
    tokens = (size[0] // 8) * (size[1] // 8)
    blocks = [TalkingAttention(16, tokens) for _ in range(4)]
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act="gelu"), conv_bn(8, 16, 3, 2, act="gelu"), conv_bn(16, 16, 3, 2),
        *blocks, nn.BatchNorm2d(16), Head(16),
    )  # fmt: skip


class LeViTBlock(nn.Module):
    """Linear layers, each normalised over (tokens x batch), hard swish in front of the last."""

    def __init__(self, channels: int, tokens: int) -> None:
        super().__init__()
        self.qkv, self.out = (
            nn.Linear(channels, 3 * channels, bias=False),
            nn.Linear(channels, channels),
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(c) for c in (3 * channels, channels))
        self.attention_biases = nn.Parameter(torch.zeros(4, tokens))

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, c = x.shape
        qkv = self.norms[0](self.qkv(x).flatten(0, 1)).reshape(n, tokens, 3, 4, c // 4)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (
            q @ k.transpose(-2, -1) * (c // 4) ** -0.5 + self.attention_biases[:, None]
        ).softmax(-1)
        mixed = F.hardswish((weights @ v).transpose(1, 2).reshape(n, tokens, c))
        return x + self.norms[1](self.out(mixed).flatten(0, 1)).reshape(n, tokens, c)


class LeViT(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(3, 8, 3, 2, act="hardswish"), conv_bn(8, 16, 3, 2, act="hardswish"),
            conv_bn(16, 16, 3, 2),
        )  # fmt: skip
        tokens = (size[0] // 8) * (size[1] // 8)
        self.blocks = nn.ModuleList(LeViTBlock(16, tokens) for _ in range(4))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, CLASSES)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = x.mean(1)
        return (self.heads[0](x) + self.heads[1](x)) / 2


class StarBlock(nn.Module):
    """The product of two branches, deep in sequence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels, 7, groups=channels)
        self.one, self.two = (nn.Conv2d(channels, 3 * channels, 1) for _ in range(2))
        self.back = conv_bn(3 * channels, channels, 1)
        self.last = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return x + self.last(self.back(F.relu6(self.one(y)) * self.two(y)))


def starnet() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act="relu6"), *(StarBlock(8) for _ in range(6)), conv_bn(8, 16, 3, 2),
        *(StarBlock(16) for _ in range(4)), nn.BatchNorm2d(16), Head(16),
    )  # fmt: skip


class GhostBlock(nn.Module):
    """Half of the channels made from the other half; a long-range gate from a smaller map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.primary = conv_bn(channels, half, 1, act="relu")
        self.cheap = conv_bn(half, half, 3, groups=half, act="relu")
        self.gate = nn.Sequential(
            conv_bn(channels, channels, 1),
            nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), groups=channels),
            nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), groups=channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(F.avg_pool2d(x, 2)))
        y = self.primary(x)
        y = torch.cat([y, self.cheap(y)], 1) * F.interpolate(gate, x.shape[2:], mode="nearest")
        return x + y


def ghostnet() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act="relu"), *(GhostBlock(8) for _ in range(4)), conv_bn(8, 16, 3, 2),
        *(GhostBlock(16) for _ in range(2)), Head(16),
    )  # fmt: skip


class FATBlock(nn.Module):
    """Local and global halves that gate each other, on a channels-last LayerNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.q, self.kv = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.out = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(1e-6 * torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        y = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        q = self.q(y)
        k, v = self.kv(F.avg_pool2d(y, 4)).flatten(2).chunk(2, 1)
        mixed = (q.flatten(2).transpose(1, 2) @ k * k.shape[1] ** -0.5).softmax(-1) @ v.transpose(
            1, 2
        )
        wide = mixed.transpose(1, 2).reshape(q.shape)
        near = self.local(q)
        return x + self.gamma * self.out(F.silu(wide) * near + F.silu(near) * wide)


def fat() -> nn.Module:
    return nn.Sequential(
        conv_bn(3, 16, 3, 4, act="gelu"), *(FATBlock(16) for _ in range(4)), Head(16)
    )


class Plain(nn.Module):
    """Thirty layers with no normalisation at all, weights behind wrappers, a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.deep = nn.Sequential(
            *(
                part
                for _ in range(14)
                for part in (nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.1))
            )
        )
        self.normed = nn.utils.weight_norm(nn.Conv2d(8, 8, 3, padding=1))
        self.parametrized = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.spectral = nn.utils.spectral_norm(nn.Conv2d(8, 8, 1))
        self.spectral_too = nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 1))
        self.kernel = nn.Parameter(torch.zeros(8, 1, 3, 3))
        self.mixer = nn.Parameter(torch.zeros(8, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(self.stem(x))
        x = self.spectral_too(self.spectral(self.parametrized(self.normed(x))))
        x = F.conv2d(x, self.kernel, padding=1, groups=8)
        tokens = F.avg_pool2d(x, 4).flatten(2).transpose(1, 2) @ self.mixer
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.transpose(1, 2)[..., None])


MOBILE_FAMILIES: dict[str, Callable[[tuple[int, int]], nn.Module]] = {
    "mobileone": lambda size: mobileone(),
    "casvit": lambda size: casvit(),
    "efficientformer": efficientformer,
    "levit": LeViT,
    "starnet": lambda size: starnet(),
    "ghostnet": lambda size: ghostnet(),
    "fat": lambda size: fat(),
    "plain": lambda size: Plain(),
}
"""Family -> a network for images of (height, width), multiples of 16."""


def named(name: str, size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return MOBILE_FAMILIES[name]((size, size)).eval()


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """`mobile_families:make_levit` is a factory, for 64 px."""
    if name.startswith("make_") and name[5:] in MOBILE_FAMILIES:
        return lambda: named(name[5:])
    raise AttributeError(name)
