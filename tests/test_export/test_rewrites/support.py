"""What holds for every rewrite: the same numbers, and nothing left to do."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from care_mobile.export.rewrites import Rewrite, apply


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rewritten(
    network: nn.Module, rewrite: Rewrite, *inputs: Tensor
) -> tuple[int, ExportedProgram, Counter[str]]:
    """Places, the program, and its operators; the numbers are checked in float64."""
    network = network.eval().double().requires_grad_(False)
    program = torch.export.export(network, inputs)
    before = program.module()(*inputs)
    places = apply(program, [rewrite])[rewrite.name]
    program.validate()
    shapes = [n.meta["val"].shape for n in program.graph.nodes if n.op == "placeholder"]
    assert all(type(size) is int for shape in shapes for size in shape)
    torch.testing.assert_close(program.module()(*inputs), before, rtol=1e-12, atol=1e-12)
    assert apply(program, [rewrite]) == {rewrite.name: 0}
    return places, program, operators(program)


def operators(program: ExportedProgram) -> Counter[str]:
    calls = (node for node in program.graph.nodes if node.op == "call_function")
    return Counter(str(node.target).removeprefix("aten.").split(".")[0] for node in calls)
