"""Small networks for tests; also imported by name: `networks:tiny_care`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_mobile.models.care import CARE, StageConfig
from care_mobile.models.lively import draw

TINY = (
    StageConfig(1, 8, 8, (2, 2), None),
    StageConfig(2, 8, 8, (2, 2), None),
    StageConfig(1, 16, 16, (2, 2), 8),
    StageConfig(2, 16, 16, (2, 2), 8),
)
"""A CARE with every kind of block, small enough to lower in seconds."""


def tiny_care(**options: object) -> CARE:
    return CARE(TINY, **({"num_classes": 10} | options))  # type: ignore[arg-type]


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, float64, with weights that matter everywhere."""
    draw(network, seed)
    return network.eval().double().requires_grad_(False)


class Classifier(nn.Module):
    """A plain convolutional network with a padded stem."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
        )
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))


class Deciding(nn.Module):
    """Code that decides on values, which no tracer can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return x if x.sum() > 0 else -x


class Upsampler(nn.Module):
    """Bilinear resizing and softmax attention: the patterns XNNPACK looks for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        tokens = x.flatten(2).transpose(1, 2)
        x = (
            (torch.softmax(tokens @ tokens.transpose(1, 2), -1) @ tokens)
            .transpose(1, 2)
            .reshape(x.shape)
        )
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def trained(**options: object) -> nn.Module:
    """A factory that brings its own weights."""
    return lively(Classifier(**options), seed=7).float()  # type: ignore[arg-type]


def deaf(**options: object) -> nn.Module:
    """A factory that takes options and heeds none."""
    return trained()


def failing(**options: object) -> nn.Module:
    raise RuntimeError("this factory always fails")


def not_a_module(**options: object) -> str:
    return "nothing to export"


def broken(**options: object) -> nn.Module:
    """A factory whose weights are NaN in one place, as after a run that diverged."""
    network = trained(**options)
    with torch.no_grad():
        network.features[0].weight[0, 0, 0, 0] = float("nan")  # type: ignore[index]
    return network
