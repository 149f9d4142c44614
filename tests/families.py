"""One small network of each family that phones run, in plain torch.nn, for conversion tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


def conv_bn(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: str = ""
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "silu": nn.SiLU,
        "gelu": nn.GELU,
    }  # fmt: skip
    return nn.Sequential(*layers, *([activations[act]()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * self.gate(self.expand(F.relu(self.reduce(pooled))))


class InvertedResidual(nn.Module):
    def __init__(self, channels: int, act: str, kernel: int, gate: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn(channels, 4 * channels, 1, act=act),
            conv_bn(4 * channels, 4 * channels, kernel, groups=4 * channels, act=act),
            SqueezeExcite(4 * channels, gate),
            conv_bn(4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def mobilenet() -> nn.Module:
    """MobileNetV3: hard swish, hard sigmoid gates, 5x5 depthwise, strided stem."""
    return nn.Sequential(
        conv_bn(3, 8, 3, 2, act="hardswish"),
        conv_bn(8, 8, 3, 2, groups=8, act="relu6"),
        InvertedResidual(8, "hardswish", 5, nn.Hardsigmoid()),
        nn.MaxPool2d(3, 2, 1),
        conv_bn(8, 16, 1, act="relu"),
        Head(16),
    )


def efficientnet() -> nn.Module:
    """EfficientNet: SiLU, sigmoid gates, asymmetric padding as TensorFlow's `same` needs."""
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(3, 8, 3, 2, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        InvertedResidual(8, "silu", 3, nn.Sigmoid()),
        conv_bn(8, 16, 3, 2, act="silu"),
        InvertedResidual(16, "silu", 5, nn.Sigmoid()),
        Head(16),
    )


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    """ConvNeXt: channels-last LayerNorm and linears, 7x7 depthwise, layer scale, 4x4 stem."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 4, 4),
        ChannelNorm(12),
        ConvNeXtBlock(12),
        ChannelNorm(12),
        nn.Conv2d(12, 24, 2, 2),
        ConvNeXtBlock(24),
        Head(24),
    )


class RepViTBlock(nn.Module):
    """Token mixer as it is trained: 3x3 + 1x1 + identity, then squeeze-excite and an MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = conv_bn(channels, channels, 3, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.excite = SqueezeExcite(channels, nn.Sigmoid())
        self.mlp = nn.Sequential(
            conv_bn(channels, 2 * channels, 1, act="gelu"), conv_bn(2 * channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.excite(self.norm(self.wide(x) + self.point(x) + x))
        return x + self.mlp(x)


def repvit() -> nn.Module:
    """RepViT: parallel depthwise branches, GELU, and its two averaged heads."""

    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Head(24), Head(24)

        def forward(self, x: Tensor) -> Tensor:
            return (self.first(x) + self.second(x)) / 2

    return nn.Sequential(
        conv_bn(3, 12, 3, 2, act="gelu"),
        RepViTBlock(12),
        conv_bn(12, 24, 3, 2),
        RepViTBlock(24),
        TwoHeads(),
    )


class Attention(nn.Module):
    """Multi-head self-attention over (N, tokens, channels), products written out."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, tokens, channels))


class FastViTAttention(nn.Module):
    """Attention on a feature map, with a convolutional position encoding before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.attention = Attention(channels, 2)
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        n, channels, height, width = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        mixed = self.attention(tokens).transpose(1, 2).reshape(n, channels, height, width)
        return x + self.scale * mixed


def fastvit() -> nn.Module:
    """FastViT: RepMixer (a depthwise residual of a difference), large kernels, late attention."""

    class RepMixer(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.mixer = conv_bn(channels, channels, 3, groups=channels)
            self.norm = nn.BatchNorm2d(channels)
            self.scale = nn.Parameter(torch.rand(channels, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.scale * (self.mixer(x) - self.norm(x))

    return nn.Sequential(
        conv_bn(3, 12, 3, 2, act="gelu"),
        RepMixer(12),
        conv_bn(12, 24, 7, 2, groups=12),
        FastViTAttention(24),
        Head(24),
    )


class VisionTransformer(nn.Module):
    """A ViT: patches, class token, positions, pre-norm blocks on torch's own attention."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        channels = 16
        self.patches = nn.Conv2d(3, channels, 8, 8)
        tokens = (size[0] // 8) * (size[1] // 8)
        self.token = nn.Parameter(torch.randn(1, 1, channels))
        self.position = nn.Parameter(torch.randn(1, tokens + 1, channels))
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 32), nn.GELU(), nn.Linear(32, channels))
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], 1) + self.position
        q, k, v = (
            part.unflatten(-1, (4, -1)).transpose(1, 2)
            for part in self.qkv(self.norm1(tokens)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(mixed)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return self.head(tokens[:, 0])


class Segmenter(nn.Module):
    """Up again: transposed convolution, bilinear and nearest resizing, skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = conv_bn(3, 8, 3, 2, act="relu"), conv_bn(8, 16, 3, 2, act="relu")
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.side = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(16, 8, 3), nn.LeakyReLU(0.2))
        self.last = nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down1(x)
        low = self.down2(high)
        size = high.shape[2:]
        side = F.interpolate(self.side(low), size, mode="bilinear", align_corners=False)
        near = F.interpolate(low[:, :8], scale_factor=2.0, mode="nearest")
        return self.last(torch.cat([self.up(low) + near, side, high], 1)).softmax(1)


FAMILIES: dict[str, Callable[[tuple[int, int]], nn.Module]] = {
    "mobilenet": lambda size: mobilenet(),
    "efficientnet": lambda size: efficientnet(),
    "convnext": lambda size: convnext(),
    "repvit": lambda size: repvit(),
    "fastvit": lambda size: fastvit(),
    "vit": VisionTransformer,
    "segmenter": lambda size: Segmenter(),
}
"""Family -> a network for images of (height, width)."""
