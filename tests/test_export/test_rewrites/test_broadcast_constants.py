"""Constants beside maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_mobile.export.rewrites import (
    CONSTANTS_BESIDE_MAPS,
    RECIPROCALS_TO_DIVISIONS,
    apply,
)

from .support import noise, rewritten


class Scaled(nn.Module):
    """A layer scale as networks write it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(noise(4))
        self.register_buffer("shift", noise(4, 1, 1, seed=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale[:, None, None] * x + self.shift


def operand_shapes(program: torch.export.ExportedProgram) -> list[tuple[int, ...]]:
    shapes = [
        tuple(operand.meta["val"].shape)
        for node in program.graph.nodes
        for operand in node.all_input_nodes
        if node.op == "call_function" and operand.op == "placeholder"
    ]
    return sorted(shapes)


def test_a_layer_scale_has_four_dimensions() -> None:
    places, program, found = rewritten(Scaled(), CONSTANTS_BESIDE_MAPS, noise(2, 4, 3, 5))
    assert places == 2
    assert found == {"mul": 1, "add": 1}
    assert operand_shapes(program) == [(1, 4, 1, 1), (1, 4, 1, 1), (2, 4, 3, 5)]


def test_numbers_beside_maps() -> None:
    class Numbers(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 0.5 + 3) / 2

    places, program, _ = rewritten(Numbers(), CONSTANTS_BESIDE_MAPS, noise(2, 4, 3, 5))
    assert places == 3
    assert operand_shapes(program) == [(1, 1, 1, 1)] * 3 + [(2, 4, 3, 5)]


def test_whole_numbers_beside_other_values_become_floats() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 7 + 0.5

    places, program, _ = rewritten(Mean(), CONSTANTS_BESIDE_MAPS, noise(2, 4))
    assert places == 1
    assert [n.args[1] for n in program.graph.nodes if len(n.args) == 2] == [7.0, 0.5]


def test_a_reciprocal_is_a_division_of_a_constant() -> None:
    class Inverse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.reciprocal(x * x + 2.0)

    program = torch.export.export(Inverse(), (noise(2, 4),))
    assert apply(program, [RECIPROCALS_TO_DIVISIONS, CONSTANTS_BESIDE_MAPS]) == {
        "reciprocals-to-divisions": 1,
        "constants-beside-maps": 1,
    }
    assert not [n for n in program.graph.nodes if n.target is torch.ops.aten.full.default]
    torch.testing.assert_close(program.module()(noise(2, 4)), Inverse()(noise(2, 4)))


def test_constants_of_tokens_and_integers_stay() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(noise(4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + self.bias, x.argmax(1) + 1

    assert rewritten(Tokens(), CONSTANTS_BESIDE_MAPS, noise(2, 3, 4))[0] == 0


def test_a_buffer_that_changes_is_no_constant() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1.0)
            return x + self.calls

    x = noise(1, 2, 2, 2)
    program = torch.export.export(Counting(), (x,)).run_decompositions({})
    apply(program, [CONSTANTS_BESIDE_MAPS])
    counting = program.module()
    torch.testing.assert_close(counting(x), x + 1)
    torch.testing.assert_close(counting(x), x + 2)
