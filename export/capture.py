"""One capture with `torch.export`; every target starts from it."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from care_mobile.bundle import TensorSpec
from care_mobile.errors import ModelError
from care_mobile.inputs import Preprocessing

from .eager import flatten
from .reparam.trace import exported
from .targets import Variant

INPUT_NAME = "image"


class _Flat(nn.Module):
    """Returns a flat tuple, with the softmax a classifier with labels needs."""

    def __init__(self, network: nn.Module, softmax: bool) -> None:
        super().__init__()
        self.network = network
        self.softmax = softmax

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = flatten(self.network(x))
        return tuple(torch.softmax(o, dim=-1) for o in outputs) if self.softmax else tuple(outputs)


def capture(model: nn.Module, preprocessing: Preprocessing, variant: Variant) -> ExportedProgram:
    """Capture `model` for inputs (1, C, H, W), or (batch, C, H, W) with a free batch.

    Raises:
        ModelError: if the network cannot be captured.
    """
    size = preprocessing.resolution
    x = torch.zeros(1, preprocessing.channels, size.height, size.width)
    return exported(_Flat(model, variant.softmax).eval(), x, dynamic_batch=variant.dynamic_batch)


def input_spec(preprocessing: Preprocessing, variant: Variant, image: bool) -> TensorSpec:
    size = preprocessing.resolution
    batch = None if variant.dynamic_batch else 1
    return TensorSpec(
        name=INPUT_NAME,
        shape=(batch, preprocessing.channels, size.height, size.width),
        dtype="uint8" if image else "float32",
        kind="image" if image else "tensor",
    )


def output_specs(program: ExportedProgram, variant: Variant) -> tuple[TensorSpec, ...]:
    """Names, shapes and element types of what a captured program returns, as PyTorch has them."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    outputs = [values[str(name)] for name in program.graph_signature.user_outputs]
    if len(outputs) == 1 and outputs[0].dim() == 2:
        names = ["probabilities" if variant.softmax else "logits"]
    elif len(outputs) == 1:
        names = ["output"]
    else:
        names = [f"features_{index}" for index in range(len(outputs))]
    return tuple(
        TensorSpec(
            name=name,
            shape=tuple(side if isinstance(side, int) else None for side in output.shape),
            dtype=str(output.dtype).removeprefix("torch."),
        )
        for name, output in zip(names, outputs, strict=True)
    )


def plain_array(output: Tensor) -> NDArray[Any]:
    """An output of the eager network as numpy has it.

    Raises:
        ModelError: if it holds numbers that no target has.
    """
    if output.is_complex() or output.is_quantized or output.is_sparse:
        raise ModelError(
            f"the network returns {str(output.dtype).removeprefix('torch.')} numbers",
            "no target has them: return real tensors, torch.view_as_real(x) for complex ones",
        )
    # numpy has no bfloat16.
    output = output.float() if output.dtype is torch.bfloat16 else output
    return output.detach().cpu().contiguous().numpy().copy()
