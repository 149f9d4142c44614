from __future__ import annotations

import numpy as np
import torch
from networks import lively, tiny_care
from torch import Tensor, nn

from care_mobile.export.quantize.sensitivity import rank, subset


class TwoLayers(nn.Module):
    """One layer whose weights 8 bits hold exactly, one with an outlier in every row."""

    def __init__(self) -> None:
        super().__init__()
        self.easy = nn.Conv2d(3, 8, 1, bias=False)
        self.hard = nn.Conv2d(8, 4, 1, bias=False)
        weight = torch.randint(-127, 128, (8, 3, 1, 1)).float()
        weight[:, 0] = 127.0
        self.easy.weight = nn.Parameter(weight / 127.0)
        outlier = torch.randn(4, 8, 1, 1)
        outlier[:, 0] = 500.0
        self.hard.weight = nn.Parameter(outlier)

    def forward(self, x: Tensor) -> Tensor:
        x = self.easy(x)
        return self.hard(x * torch.tensor([0.0, *[1.0] * 7])[:, None, None])


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, size, size)).astype(np.float32)


def test_the_layer_with_outliers_comes_first() -> None:
    torch.manual_seed(0)
    stack = images(2, 8)
    program = torch.export.export(TwoLayers().eval(), (torch.from_numpy(stack[:1]),))
    seen: list[tuple[int, int]] = []
    found = rank(program, stack, on_layer=lambda done, total: seen.append((done, total)))
    assert [damage.node for damage in found] == ["conv2d_1", "conv2d"]
    assert {damage.operator for damage in found} == {"conv2d"}
    assert found[0].psnr_db + 15 < found[1].psnr_db
    assert seen == [(1, 2), (2, 2)]


def test_every_layer_of_a_care_is_judged_and_the_program_is_left_as_it_was() -> None:
    network = lively(tiny_care()).float()
    stack = images(1, 64)
    program = torch.export.export(network, (torch.from_numpy(stack),))
    before = program.module()(torch.from_numpy(stack))
    found = rank(program, stack)
    kinds = ("aten.conv2d", "aten.linear")
    layers = [node for node in program.graph.nodes if str(node.target).startswith(kinds)]
    assert len(layers) > 20
    assert {n.name for n in layers} <= {damage.node for damage in found}
    assert all(0 < damage.psnr_db < 200 for damage in found)
    assert found == tuple(sorted(found, key=lambda damage: damage.psnr_db))
    assert torch.equal(program.module()(torch.from_numpy(stack)), before)


def test_a_subset_is_spread() -> None:
    stack = np.arange(10, dtype=np.float32)[:, None]
    assert subset(stack).ravel().tolist() == [0.0, 9.0]
    assert subset(stack, 3).ravel().tolist() == [0.0, 4.0, 9.0]
    assert subset(stack[:1]).ravel().tolist() == [0.0]
