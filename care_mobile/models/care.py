"""The CARE Transformer (deCoupled duAl-interactive lineaR attEntion), inference and training.

Paper: "CARE Transformer: Mobile-Friendly Linear Visual Transformer via Decoupled Dual
Interaction", arXiv 2411.16170, CVPR 2025.

A feature map of a stage has C = m + 3g channels, in this order::

    | memory (m) | a (g) | b (g) | c (g) |

*Decoupling*: the three feature groups take different roads (`a` a long-range one, `b` and `c`
local ones of two sizes), the memory group none. *Dual interaction*: an inverted-residual mixer
first joins the three groups, a second one joins the result with the memory. The memory channels
thus carry what earlier blocks knew from block to block: the *dynamic memory unit*.

State-dict keys are those of the authors' checkpoints, so these load strictly and unchanged.
Shapes below are NCHW: B batch, C channels, H and W height and width, N = H * W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .catalog import CARE_MIN_SIDE

ATTENTION_EPS = 1e-6
HEAD_NORM_EPS = 1e-6
LAYER_SCALE_INIT = 1e-6


@dataclass(frozen=True)
class StageConfig:
    """One stage: `depth` blocks on `memory` + 3 * `branch` channels.

    `expansions` are the widening factors (r1, r2) of the first and the second interaction.
    `head_width` is the width of an attention head; None makes the long-range branch a pair of
    strip convolutions instead.
    """

    depth: int
    branch: int
    memory: int
    expansions: tuple[int, int]
    head_width: int | None

    @property
    def features(self) -> int:
        """Channels of the three feature groups together."""
        return 3 * self.branch

    @property
    def channels(self) -> int:
        """Channels of the stage, memory included."""
        return self.memory + self.features


def _stages(
    depths: Sequence[int], memory: Sequence[int], expansions: Sequence[tuple[int, int]]
) -> tuple[StageConfig, ...]:
    # In every published stage a branch is as wide as the memory; heads exist in stages 3 and 4.
    heads = (None, None, 16, 32)
    return tuple(
        StageConfig(d, m, m, r, h)
        for d, m, r, h in zip(depths, memory, expansions, heads, strict=True)
    )


CARE_S0 = _stages((2, 4, 8, 4), (8, 16, 32, 64), ((2, 2), (2, 4), (4, 4), (4, 4)))
CARE_S1 = _stages((3, 6, 10, 6), (8, 16, 32, 64), ((2, 4), (2, 4), (4, 4), (4, 4)))
CARE_S2 = _stages((3, 6, 10, 6), (8, 16, 48, 96), ((4, 4), (4, 4), (4, 4), (4, 4)))


class DropPath(nn.Module):
    """Stochastic depth: in training drops the branch of whole samples with probability `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        keep = 1.0 - self.p
        mask = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LinearAttention(nn.Module):
    """Attention without softmax, linear in the number of positions N.

    With phi(t) = ELU(t) + 1 > 0 and per head q, k = phi(.), v of shape (N, d)::

        out_n = q_n (k^T v / N) / (q_n . mean(k) + eps)

    It has no parameters: the projection to q and k belongs to the block, v is the input itself.
    """

    def __init__(self, heads: int, eps: float = ATTENTION_EPS) -> None:
        super().__init__()
        self.heads = heads
        self.eps = eps

    def _tokens(self, x: Tensor) -> Tensor:
        """(B, heads * d, H, W) -> (B, heads, N, d)."""
        batch, channels, height, width = x.shape
        heads = x.reshape(batch, self.heads, channels // self.heads, height * width)
        return heads.transpose(-1, -2)

    def forward(self, qk: Tensor, v: Tensor) -> Tensor:
        """`qk` (B, 2g, H, W) with q before k, `v` (B, g, H, W) -> (B, g, H, W)."""
        q, k = (F.elu(self._tokens(t)) + 1.0 for t in qk.chunk(2, dim=1))
        positions = q.shape[-2]
        context = k.transpose(-1, -2) @ (self._tokens(v) / positions)  # (B, heads, d, d)
        normalizer = q @ k.mean(-2, keepdim=True).transpose(-1, -2) + self.eps  # (B, heads, N, 1)
        out = (q @ context) / normalizer
        return out.transpose(-1, -2).reshape(v.shape)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, eps={self.eps}"


def _depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels)


class TokenMixer(nn.Module):
    """The decoupled branches: long range on `a`, 3x3 on `b`, 7x7 on `c`."""

    def __init__(self, branch: int, head_width: int | None) -> None:
        super().__init__()
        self.dwconv1 = _depthwise(branch, 3, 3)
        self.dwconv2 = _depthwise(branch, 7, 7)
        self.has_attention = head_width is not None
        if head_width is None:
            self.dwconvatt_1 = _depthwise(branch, 11, 1)
            self.dwconvatt_2 = _depthwise(branch, 1, 11)
        else:
            self.qk = nn.Conv2d(branch, 2 * branch, 1)
            self.attention = LinearAttention(branch // head_width)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Three maps (B, g, H, W) -> their mixtures side by side, (B, 3g, H, W)."""
        if self.has_attention:
            a = self.attention(self.qk(a), a)
        else:
            a = self.dwconvatt_1(a) + self.dwconvatt_2(a)
        return torch.cat((a, self.dwconv1(b), self.dwconv2(c)), dim=1)


class Interaction(nn.Module):
    """The two interactions: among the feature groups, then between them and the memory.

    `last` ends the network inside the second one: its widened map goes to the classifier.
    """

    def __init__(self, config: StageConfig, last: bool) -> None:
        super().__init__()
        (r1, r2), features, channels = config.expansions, config.features, config.channels
        self.last = last
        self.inter1_norm = nn.BatchNorm2d(features)
        self.inter1_fc1 = nn.Conv2d(features, r1 * features, 1)
        self.inter1_conv = _depthwise(r1 * features, 3, 3)
        self.inter1_fc2 = nn.Conv2d(r1 * features, features, 1)
        self.inter2_norm = nn.BatchNorm2d(channels)
        self.inter2_fc1 = nn.Conv2d(channels, r2 * channels, 1)
        self.inter2_conv = _depthwise(r2 * channels, 3, 3)
        if not last:
            self.inter2_fc2 = nn.Conv2d(r2 * channels, channels, 1)

    def forward(self, memory: Tensor, features: Tensor) -> Tensor:
        """(B, m, H, W) and (B, 3g, H, W) -> (B, m + 3g, H, W), or (B, r2 (m + 3g), H, W)."""
        hidden: Tensor = F.gelu(self.inter1_fc1(self.inter1_norm(features)))
        features = self.inter1_fc2(self.inter1_conv(hidden)) + features
        joined = torch.cat((memory, features), dim=1)
        hidden = F.gelu(self.inter2_fc1(self.inter2_norm(joined)))
        hidden = self.inter2_conv(hidden)
        if not self.last:
            hidden = self.inter2_fc2(hidden) + joined
        return hidden


class Block(nn.Module):
    """Decouple, mix, interact twice; scaled per channel and added to the input."""

    def __init__(self, config: StageConfig, drop_path: float, last: bool) -> None:
        super().__init__()
        self.groups = [config.memory, config.branch, config.branch, config.branch]
        self.token_mixer = TokenMixer(config.branch, config.head_width)
        self.inter_layer = Interaction(config, last)
        self.last = last
        if not last:
            self.gamma = nn.Parameter(torch.full((config.channels,), LAYER_SCALE_INIT))
            self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        memory, a, b, c = torch.split(x, self.groups, dim=1)
        y: Tensor = self.inter_layer(memory, self.token_mixer(a, b, c))
        if not self.last:
            y = self.drop_path(self.gamma[:, None, None] * y) + x
        return y


class Stage(nn.Module):
    """Halve the resolution (not in the first stage), then `depth` blocks."""

    def __init__(
        self, config: StageConfig, previous: int | None, drop_path: Sequence[float], last: bool
    ) -> None:
        super().__init__()
        if previous is None:
            self.downsample = nn.Sequential()
        else:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(previous), nn.Conv2d(previous, config.channels, 2, stride=2)
            )
        self.blocks = nn.Sequential(
            *(
                Block(config, rate, last and index == config.depth - 1)
                for index, rate in enumerate(drop_path)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.downsample(x))
        return out


class Head(nn.Module):
    """Classifier: spatial mean, GELU, LayerNorm, dropout, Linear."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=HEAD_NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.fc(self.dropout(self.norm(F.gelu(x.mean((2, 3))))))
        return logits


class CARE(nn.Module):
    """A CARE Transformer.

    Args:
        stages: one `StageConfig` per stage; `CARE_S0`, `CARE_S1` and `CARE_S2` are published.
        num_classes: width of both classifiers.
        in_channels: channels of the input image.
        drop_path: stochastic-depth rate of the last block; earlier ones rise linearly to it.
        dropout: rate before the classifiers.
        features_only: return the maps of all stages and build no classifier.

    `forward` takes (B, in_channels, H, W), H and W at least 32, and returns logits
    (B, num_classes): the mean of both heads in evaluation, the pair (head, distillation head) in
    training. With `features_only` it returns a list of one map per stage, at 1/4, 1/8, 1/16
    and 1/32 of the input's resolution; `feature_channels` tells their widths.

    Raises:
        ValueError: when a side of the input is below 32 pixels.
    """

    def __init__(
        self,
        stages: Sequence[StageConfig],
        num_classes: int = 1000,
        in_channels: int = 3,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        features_only: bool = False,
    ) -> None:
        super().__init__()
        self.features_only = features_only
        widths = [stage.channels for stage in stages]
        classifier_width = stages[-1].expansions[1] * widths[-1]
        self.feature_channels = [*widths[:-1], classifier_width]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 4, stride=4), nn.BatchNorm2d(widths[0])
        )
        depth = sum(stage.depth for stage in stages)
        rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
        self.stages = nn.ModuleList()
        for index, stage in enumerate(stages):
            self.stages.append(
                Stage(
                    stage,
                    previous=widths[index - 1] if index else None,
                    drop_path=[rates.pop(0) for _ in range(stage.depth)],
                    last=index == len(stages) - 1,
                )
            )
        if not features_only:
            self.head = Head(classifier_width, num_classes, dropout)
            self.dist_head = Head(classifier_width, num_classes, dropout)
        self.apply(_initialize)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor] | list[Tensor]:
        _check_size(x)
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        if self.features_only:
            return maps
        logits, distilled = self.head(x), self.dist_head(x)
        return (logits, distilled) if self.training else (logits + distilled) / 2


@torch.fx.wrap
def _check_size(x: Tensor) -> None:
    height, width = x.shape[-2:]
    if min(height, width) < CARE_MIN_SIDE:
        raise ValueError(
            f"CARE needs inputs of at least {CARE_MIN_SIDE} px a side, got {width}x{height}"
        )


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
