"""What `fast_lowering` leaves out must not show in the file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress

import pytest
import torch
from networks import Classifier, Upsampler, lively, tiny_care
from torch import nn
from torch.export import ExportedProgram

from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.targets.fast_lowering import fast_lowering
from care_mobile.inputs import Preprocessing, Resolution


def lower(program: ExportedProgram, fast: bool) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.utils.configs import get_transform_passes
    from executorch.exir import to_edge_transform_and_lower

    with fast_lowering(program) if fast else nullcontext():
        return (
            to_edge_transform_and_lower(
                program,
                partitioner=[XnnpackPartitioner()],
                transform_passes=get_transform_passes(),
            )
            .to_executorch()
            .buffer
        )


def care() -> nn.Module:
    about = Preprocessing(resolution=Resolution(width=32, height=32))
    return reparameterize(lively(tiny_care()).float(), DEFAULT, about, lively=True).model


@pytest.mark.parametrize("build", [care, Classifier, Upsampler])
def test_the_file_is_the_same(build: Callable[[], nn.Module]) -> None:
    model = build().eval()
    x = torch.randn(1, 3, 32, 32)
    files = [lower(torch.export.export(model, (x,)), fast) for fast in (True, False)]
    assert files[0] == files[1]


def test_torch_is_left_as_it_was() -> None:
    from executorch.exir.pass_base import _ExportPassBase
    from torch.fx.graph_module import GraphModule
    from torch.fx.traceback import NodeSource

    def state() -> list[object]:
        return [
            GraphModule.recompile,
            _ExportPassBase.call,
            getattr(NodeSource, "__deepcopy__", None),
        ]

    before = state()
    program = torch.export.export(Classifier().eval(), (torch.randn(1, 3, 32, 32),))
    with suppress(ZeroDivisionError), fast_lowering(program):
        inside = state()
        raise ZeroDivisionError
    assert inside != before
    assert state() == before
