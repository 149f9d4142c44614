"""Layers of an ML Program that compute on 8-bit integers.

A layer's input is rounded to int8 (per tensor, with a zero point) right before it, by a pair of
quantize and dequantize, the form from which Core ML takes the integer arithmetic of newer Neural
Engines; everything between layers stays fp16. coremltools has two ways to such pairs, and neither
runs here: `linear_quantize_activations` finds ranges by Core ML's own predictions, which need a
Mac, and `CoreMLQuantizer` imports `torch.ao.quantization.quantizer`, which torch 2.13 no longer
has. So ranges are found by running the captured program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from coremltools.converters.mil import Builder as mb
from torch import Tensor, fx
from torch.export import ExportedProgram

from care_mobile.inputs import Array

from .sensitivity import LAYERS

Range = tuple[float, float]
"""Smallest and largest value, zero included."""

_SMALLEST_SCALE = 2.0**-14
"""The smallest normal number of fp16, in which scales are kept."""
_LARGEST = 2.0**15
_LEVELS = 255


@torch.no_grad()
def input_ranges(program: ExportedProgram, images: Array) -> dict[str, Range]:
    """The range of every layer's input over all images, by the layer's node.

    Layers whose inputs reach fp16's limits, at either end, are left out.

    Args:
        images: (n, C, H, W), each run by itself as the program takes it.
    """
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    recorder = _Recorder(module)
    for image in images:
        recorder.run(torch.from_numpy(image[None]))
    return {
        name: (low, high)
        for name, (low, high) in recorder.ranges.items()
        if (high - low) / _LEVELS >= _SMALLEST_SCALE and max(-low, high) <= _LARGEST
    }


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.ranges: dict[str, Range] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.target in LAYERS:
            (x, *_), _ = self.fetch_args_kwargs_from_env(n)
            assert isinstance(x, Tensor)
            low, high = self.ranges.get(n.name, (0.0, 0.0))
            self.ranges[n.name] = (min(low, x.min().item()), max(high, x.max().item()))
        return super().run_node(n)


def quantize_inputs(block: Any, ranges: Mapping[Any, Range]) -> None:
    """Round the inputs of layers, operations of `block` with the range of their input, to int8.

    Layers that share an input share the pair.
    """
    pairs: dict[Any, Any] = {}
    with block:
        for layer in [operation for operation in block.operations if operation in ranges]:
            with mb.set_before_op(layer):
                x = layer.inputs["x"]
                if x not in pairs:
                    pairs[x] = _rounded(x, ranges[layer])
                inputs = {**layer.inputs, "x": pairs[x]}
                result = getattr(mb, layer.op_type)(**inputs, name=layer.name)
            block.replace_uses_of_var_after_op(
                anchor_op=result.op, old_var=layer.outputs[0], new_var=result
            )
            block.remove_ops([layer])


def _rounded(x: Any, span: Range) -> Any:
    low, high = span
    step = (high - low) / _LEVELS
    zero = np.int8(np.clip(np.round(-128 - low / step), -128, 127))
    scale = np.float16(step)
    integers = mb.quantize(input=x, scale=scale, zero_point=zero, output_dtype="int8")
    return mb.dequantize(input=integers, scale=scale, zero_point=zero)
