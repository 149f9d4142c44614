"""Which layers suffer most from 8-bit integers, whatever the target.

One layer at a time, its weight (symmetric, per output channel) and its inputs (affine, per tensor,
range as calibrated) are rounded to 8 bits in the captured float program; what that does to the
outputs is its damage. Targets differ in detail, the order of layers hardly does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from care_mobile.agreement import MAX_DB, psnr_db
from care_mobile.inputs import Array

from ..eager import flatten
from ..result import LayerDamage

_ATEN = torch.ops.aten
LAYERS = (
    _ATEN.conv2d.default,
    _ATEN.conv1d.default,
    _ATEN.conv_transpose2d.input,
    _ATEN.convolution.default,
    _ATEN.linear.default,
    _ATEN.addmm.default,
    _ATEN.mm.default,
    _ATEN.bmm.default,
    _ATEN.matmul.default,
)
_LEVELS = 255

OnLayer = Callable[[int, int], None]
"""Called with the number of layers judged and to judge."""


@torch.no_grad()
def rank(
    program: ExportedProgram,
    images: Array,
    on_layer: OnLayer = lambda done, total: None,
) -> tuple[LayerDamage, ...]:
    """All layers of `program`, the most damaging first.

    Args:
        images: (n, C, H, W), each run by itself as the program takes it.
    """
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    layers = [n for n in module.graph.nodes if n.op == "call_function" and n.target in LAYERS]
    runs = [_Run(module, torch.from_numpy(image[None])) for image in images]
    found = []
    for index, layer in enumerate(layers):
        outputs = [run.with_quantized(layer) for run in runs]
        psnr = min(
            (
                psnr_db(want.double().numpy(), have.double().numpy())
                for run, quantized in zip(runs, outputs, strict=True)
                for want, have in zip(run.outputs, quantized, strict=True)
                if want.is_floating_point()  # indices and masks have no PSNR
            ),
            default=MAX_DB,
        )
        operator = str(layer.target).removeprefix("aten.").partition(".")[0]
        found.append(LayerDamage(node=layer.name, operator=operator, psnr_db=round(psnr, 2)))
        on_layer(index + 1, len(layers))
    return tuple(sorted(found, key=lambda damage: damage.psnr_db))


class _Run(fx.Interpreter):
    """One image's float run, kept, so that a changed layer needs only what follows it."""

    def __init__(self, module: fx.GraphModule, image: Tensor) -> None:
        super().__init__(module, garbage_collect_values=False)
        self._image = image
        self._order = {node: index for index, node in enumerate(module.graph.nodes)}
        self.outputs = flatten(self.run(image))
        self._kept = dict(self.env)

    def with_quantized(self, layer: fx.Node) -> list[Tensor]:
        """The outputs when `layer` computes on 8-bit values."""
        start = self._order[layer]
        known = {node: value for node, value in self._kept.items() if self._order[node] < start}
        args, kwargs = self.fetch_args_kwargs_from_env(layer)
        known[layer] = self.call_function(
            layer.target,
            tuple(_rounded(index, value, layer) for index, value in enumerate(args)),
            kwargs,
        )
        outputs = flatten(self.run(self._image, initial_env=known))
        self.env = dict(self._kept)
        return outputs


def _rounded(index: int, value: Any, layer: fx.Node) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2:
        return value  # a bias stays wide in every runtime
    return _per_channel(value) if _is_weight(layer, index) else _per_tensor(value)


def _is_weight(layer: fx.Node, index: int) -> bool:
    argument = layer.args[index]
    return isinstance(argument, fx.Node) and argument.op == "get_attr"


def _per_channel(weight: Tensor) -> Tensor:
    scale = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(weight.dtype).tiny) / 127.0
    scale = scale.reshape(-1, *(1,) * (weight.dim() - 1))
    return torch.round(weight / scale).clamp(-127, 127) * scale


def _per_tensor(x: Tensor) -> Tensor:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / _LEVELS or 1.0
    zero = round(-low / scale)
    return (torch.round(x / scale) + zero).clamp(0, _LEVELS).sub(zero) * scale


def subset(images: Array, count: int = 2) -> Array:
    """`count` images spread over all of them."""
    picked = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    chosen: Array = images[picked]
    return chosen
