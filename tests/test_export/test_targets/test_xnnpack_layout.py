"""Operations along an axis of a map that a convolution made, which XNNPACK keeps channels last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..test_executorch import lowered

CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "softmax over channels": lambda x: torch.softmax(x, 1),
    "softmax over rows": lambda x: torch.softmax(x, 2),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "talking heads": lambda x: torch.softmax(x.sigmoid() @ x.transpose(2, 3), -1) @ x,
    "attention with a mask of its own": lambda x: F.scaled_dot_product_attention(x, x, x, x),
    "largest of rows": lambda x: x.amax(-1, keepdim=True) + x.max(2, keepdim=True)[0],
    "mean of columns": lambda x: x.mean(3, keepdim=True) + x.mean(1, keepdim=True),
    "linear": lambda x: F.linear(x, torch.linspace(-1, 1, 48).reshape(6, 8)),
    "slices and joins": lambda x: torch.cat((x[..., 1:], x[..., :3]), 3) + x.sum(),
}


class AfterConvolution(nn.Module):
    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(self.convolution(x))


@pytest.mark.parametrize("name", CASES)
def test_axes_are_those_of_the_network(name: str, tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    torch.manual_seed(0)
    network = AfterConvolution(CASES[name]).eval()
    # All sides differ but those of the product of a map with itself.
    x = torch.randn(1, 3, 8, 8) if "attention" in name else torch.randn(1, 3, 6, 8)
    lowered(network, tmp_path, x)
    method = Runtime.get().load_program(tmp_path / "model.pte").load_method("forward")
    assert method is not None
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(method.execute([x])[0], expected, rtol=1e-4, atol=1e-5)
