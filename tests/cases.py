"""Small networks, one per kind of output and operator that targets stumble over; `cases:NAME`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Head = Callable[[nn.Module, Tensor, Tensor], object]


class Case(nn.Module):
    """A convolution of the image `x`, and what `head` makes of it."""

    def __init__(self, head: Head, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(channels, 8, 3, 2, 1)
        self.linear = nn.Linear(8, 6)
        self.register_buffer("anchors", torch.rand(20, 4))
        self.head = head

    def forward(self, x: Tensor) -> object:
        return self.head(self, self.conv(x), x)


def _case(head: Head, channels: int = 3) -> nn.Module:
    return Case(head, channels).eval()


def constants() -> nn.Module:
    return _case(lambda net, y, x: (y.flatten(1), net.anchors, net.anchors[:, 0] * 2))


def numbers() -> nn.Module:
    """Integers, truth values, a scalar."""
    return _case(lambda net, y, x: (y.mean((2, 3)), y.argmax(1), y > 0, y.mean()))


def again() -> nn.Module:
    """One tensor twice, and the image itself."""
    return _case(lambda net, y, x: (y, y, x))


def pools() -> nn.Module:
    return _case(
        lambda net, y, x: (
            F.adaptive_avg_pool2d(y, (5, 7)),
            F.adaptive_max_pool2d(y, (3, 5)),
            F.adaptive_max_pool2d(y, 4),
            F.avg_pool2d(y, 3, 2, divisor_override=5),
        )
    )


def grey_channels_last() -> nn.Module:
    """One channel, and weights whose memory format is channels last."""
    made = _case(lambda net, y, x: net.linear(y.permute(0, 2, 3, 1)), 1)
    return made.to(memory_format=torch.channels_last)


def without_kernel() -> nn.Module:
    return _case(lambda net, y, x: torch.digamma(y.abs() + 1))
