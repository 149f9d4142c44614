"""8-bit integers for ONNX Runtime's CPU kernels: static, QDQ, per output channel.

Not everything gains. Convolutions over all channels and classifiers do, if they are wide enough
that the conversions around them are small change; narrow ones, linear attention, normalisation
and large depthwise kernels stay float. Small depthwise kernels, sums and concatenations follow
their neighbours: integers where an integer map reaches them anyway. GELU has no integer kernel;
see `onnx_gelu` for what stands for it.

Activations are unsigned and affine, weights signed and symmetric, since the integer products of
x86 and arm64 take them in this form without a correction.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from care_mobile.inputs import Array

from ..targets.onnx_editing import ORIGINS
from .onnx_gelu import gelus_in_integers

if TYPE_CHECKING:
    import onnx

MIN_CHANNELS = 48
"""Layers that sum over fewer values or make fewer channels stay float: in CARE's first stage, 32
wide, integers gain nothing over ONNX Runtime's blocked float layout."""
MAX_TAPS = 9
"""Depthwise kernels with more stay float: 7x7 on 32 channels of 28x28 takes 2.7 times as long in
integers (onnxruntime 1.32, x86 with VNNI)."""

_FOLLOWERS = ("Add", "Concat", "Mul", "Split")


def quantize(
    model: onnx.ModelProto, images: Array, keep_float: Collection[str], input_name: str
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """`model` in 8-bit integers, and how many operators of each type became integer.

    Args:
        model: float32, with the shapes of its values inferred; not changed.
        images: (n, C, H, W) in the input's range, float32; the ranges of activations come from
            running them, one at a time.
        keep_float: operations of the captured program that stay float, by name.
        input_name: of the model's only input.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    chosen = choose(model, keep_float)
    counts = Counter(node.op_type for node in model.graph.node if node.name in chosen)
    if not chosen:
        return model, {}
    with tempfile.TemporaryDirectory(prefix="care-int8-") as scratch, _quiet():
        path = Path(scratch) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Images(images, input_name),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=sorted(chosen),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantized = onnx.load(path)
    _drop_zero_points_of_biases(quantized)
    quantized, gelus = gelus_in_integers(quantized, keep_float)
    if gelus:
        counts["Gelu"] = gelus
    return quantized, dict(counts)


def choose(model: onnx.ModelProto, keep_float: Collection[str]) -> set[str]:
    """Names of the nodes that become integer."""
    graph = _Graph(model)
    kept = set(keep_float)
    chosen = {
        node.name for node in model.graph.node if graph.is_wide(node) and not kept & origins(node)
    }
    while True:
        more = {
            node.name
            for node in model.graph.node
            if node.name not in chosen and graph.follows(node, chosen) and not kept & origins(node)
        }
        if not more:
            return chosen
        chosen |= more


def origins(node: onnx.NodeProto) -> set[str]:
    """The operations of the captured program that `node` stands for."""
    recorded = {entry.key: entry.value for entry in node.metadata_props}.get(ORIGINS)
    return set(recorded.split(",") if recorded else node.output)


class _Graph:
    """Producers, weights and ranks of a model's values."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._producer = {name: node for node in model.graph.node for name in node.output}
        self._weights: dict[str, tuple[int, ...]] = {
            tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer
        }
        values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self._rank = {v.name: len(v.type.tensor_type.shape.dim) for v in values}

    def is_wide(self, node: onnx.NodeProto) -> bool:
        """Whether `node` is a convolution or product with constant weights that gains."""
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return False
        shape = self._weights.get(node.input[1], ())
        if len(shape) < 2 or self.is_depthwise(node):
            return False
        return min(shape[0], math.prod(shape[1:])) >= MIN_CHANNELS

    def is_depthwise(self, node: onnx.NodeProto) -> bool:
        groups = [a.i for a in node.attribute if a.name == "group"]
        return node.op_type == "Conv" and bool(groups) and groups[0] > 1

    def is_small_depthwise(self, node: onnx.NodeProto) -> bool:
        if not self.is_depthwise(node):
            return False
        return math.prod(self._weights.get(node.input[1], ())[2:]) <= MAX_TAPS

    def follows(self, node: onnx.NodeProto, chosen: Collection[str]) -> bool:
        """Whether `node` is light work on a map that comes out of integers anyway."""
        if node.op_type not in _FOLLOWERS and not self.is_small_depthwise(node):
            return False
        if self._rank.get(node.output[0]) != 4:
            return False
        return any(self._is_integer(name, chosen) for name in node.input)

    def _is_integer(self, name: str, chosen: Collection[str]) -> bool:
        node = self._producer.get(name)
        if node is not None and node.op_type == "Gelu":  # float between two integers
            node = self._producer.get(node.input[0])
        return node is not None and node.name in chosen


class _Images:
    """The reader that onnxruntime's calibration asks for one input after the other."""

    def __init__(self, images: Array, input_name: str) -> None:
        self._feeds: Iterator[Mapping[str, Any]] = (
            {input_name: image[None].astype(np.float32)} for image in images
        )

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self._feeds, None)


def _drop_zero_points_of_biases(model: onnx.ModelProto) -> None:
    """Biases are symmetric; a zero per channel would say nothing in four bytes."""
    import onnx

    wide = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT32}
    points = set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.input[0] in wide:
            points.add(node.input[2])
            del node.input[2]
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name not in points or t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer advises in the log of the whole process."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
