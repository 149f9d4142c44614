"""What every test of an equivalence checks: numbers, structure, idempotence, refusals."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_mobile.export.eager import flatten
from care_mobile.export.equivalence import TOLERANCE, relative_error
from care_mobile.export.reparam import Pass, PassResult, trace
from care_mobile.export.reparam.trace import run
from care_mobile.models.lively import draw


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    draw(network, seed)
    return network.eval().double().requires_grad_(False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def apply(rule: Pass, network: nn.Module, x: Tensor) -> PassResult:
    """Run the pass on lively weights; results must not move, and a second run finds nothing."""
    lively(network)
    graph = trace(network, x)
    before = flatten(run(graph, x))  # which tells passes the shapes
    result = rule(graph)
    assert relative_error(before, flatten(run(result.model, x))) <= TOLERANCE
    assert relative_error(before, flatten(network(x))) <= TOLERANCE
    assert relative_error(before, flatten(graph(x))) == 0.0, "the argument was changed"
    assert rule(result.model).places == 0
    return result


def kinds(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def reasons(result: PassResult) -> str:
    return "; ".join(left.reason for left in result.left)
