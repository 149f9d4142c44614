"""Which weights of an ML Program become integers or places in a table.

It runs as the last of coremltools' passes, within the one conversion. It judges a layer by its
worst output channel: an error that is small for a layer can be all there is of a channel. A
layer's weights become

- places in a table of 2^bits values (`coreml_palette`), if asked for and if it holds every channel;
- else 8-bit integers with a scale per output channel, if they do;
- else they stay float, as small ones do, and layers that are asked to.

A table is per tensor, also at iOS 18, which knows one per group of channels: on CARE-S0 tables per
16 channels brought less than 2 dB and sent more layers to integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from coremltools import PassPipeline
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil._deployment_compatibility import AvailableTarget
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass, PassOption
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY, register_pass
from coremltools.optimize.coreml import OpPalettizerConfig, OptimizationConfig

from .coreml_int8 import Range, quantize_inputs
from .coreml_palette import Array, palette
from .sensitivity import LAYERS

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MIN_ELEMENTS = 2048
"""coremltools' default; a table or scales take what smaller weights would save."""

CHANNEL_AXIS = {"conv": 0, "conv_transpose": 1, "linear": 0}
"""Operators whose weights are compressed -> the axis of the output channels."""

MIN_INTEGER_DB = 35.0
"""Integers hold bell-shaped weights at about 42 dB; a channel far below has outliers."""

TABLE, INTEGERS, FLOAT = "weights in tables", "weights as 8-bit integers", "layers left in float"


def min_table_db(bits: int) -> float:
    """Tables hold bell-shaped weights at about 6 bits - 4 dB; this allows channels of a quarter of
    the layer's magnitude."""
    return 6.0 * bits - 16.0


@dataclass
class Compression:
    """What to do, and then what was done.

    Attributes:
        bits: of the places in tables; None for integers.
        keep_float: layers that stay float, by the name of their node in the captured program.
        inputs: the range of the inputs of layers that compute in integers, by node; of these all
            weights are compressed, of others none. None to leave inputs in float.
        nodes: of layers, by the name of their weight (`weight_names`).
        counts: of layers, small ones apart, by what became of them; filled in by the pass.
    """

    bits: int | None = None
    keep_float: frozenset[str] = frozenset()
    inputs: Mapping[str, Range] | None = None
    nodes: Mapping[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=lambda: Counter({TABLE: 0, INTEGERS: 0, FLOAT: 0}))

    def pipeline(self) -> Any:
        """coremltools' default passes and then this, for `ct.convert`."""
        name = f"{_NAMESPACE}::{CompressLayers.__name__}"
        passes = PassPipeline.DEFAULT
        passes.append_pass(name)
        passes.set_options(name, {"compression": self})
        return passes

    def node(self, layer: Any) -> str:
        """The node of the captured program that an operation was made of.

        By its weight where that tells: coremltools renames `linear`, and fusions rename others.
        """
        weight: str = layer.inputs["weight"].name
        name: str = layer.name
        return self.nodes.get(weight.removesuffix("_to_fp16"), name.removesuffix("_cast_fp16"))

    def choose(self, weight: Array, layers: list[Any]) -> str:
        """What becomes of a weight that `layers` share."""
        nodes = {self.node(layer) for layer in layers}
        if nodes & self.keep_float or not (self.inputs is None or nodes <= self.inputs.keys()):
            return FLOAT
        (axis,) = {CHANNEL_AXIS[layer.op_type] for layer in layers}
        channels = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        if self.bits is not None:
            table, places = palette(channels, self.bits)
            if worst_db(channels, table[places].reshape(channels.shape)) >= min_table_db(self.bits):
                return TABLE
        integers, scale = as_integers(channels)
        return INTEGERS if worst_db(channels, integers * scale) >= MIN_INTEGER_DB else FLOAT


def weight_names(program: ExportedProgram) -> dict[str, str]:
    """Layers' nodes by the placeholder of their weight, for weights of one layer only."""
    users: dict[str, list[str]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target in LAYERS:
            for argument in node.args[1:2]:
                users.setdefault(argument.name, []).append(node.name)
    return {weight: nodes[0] for weight, nodes in users.items() if len(nodes) == 1}


_NAMESPACE = "care_mobile"


@register_pass(namespace=_NAMESPACE)
class CompressLayers(AbstractGraphPass):  # type: ignore[misc]
    """Carries out a `Compression`, its option."""

    compression = Compression()

    def apply(self, prog: Any) -> None:
        compression = self.compression
        tables: dict[str, Any] = {}
        smallest = 0 if compression.inputs is not None else MIN_ELEMENTS
        for block in prog.functions.values():
            inputs: dict[Any, Range] = {}
            for constant in list(block.operations):
                weight, layers = _weight(constant)
                if weight is None or weight.size <= smallest:
                    continue
                choice = compression.choose(weight, layers)
                compression.counts[choice] += len(layers)
                if choice != FLOAT and compression.inputs is not None:
                    inputs |= {n: compression.inputs[compression.node(n)] for n in layers}
                if choice == TABLE:
                    assert compression.bits is not None
                    tables[constant.name] = _table(compression.bits)
                elif choice == INTEGERS:
                    _write_integers(block, constant, CHANNEL_AXIS[layers[0].op_type])
            quantize_inputs(block, inputs)
        _palettize(prog, tables)


def worst_db(weights: Array, held: Array) -> float:
    """The lowest signal-to-noise ratio of a row, in dB; rows of zeros that stay so do not count.

    Args:
        weights, held: (channels, n), finite.
    """
    weights, held = weights.astype(np.float64), held.astype(np.float64)
    error = ((weights - held) ** 2).sum(axis=1)
    power = (weights**2).sum(axis=1)[error > 0]
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(power / error[error > 0]).min(initial=np.inf))


def as_integers(channels: Array) -> tuple[Array, Array]:
    """Integers (channels, n) of -127 to 127 and their scale (channels, 1), float32 of fp16's."""
    largest = np.abs(channels.astype(np.float32)).max(axis=1, keepdims=True)
    scale = (largest / 127.0).astype(np.float16).astype(np.float32)
    scale[scale == 0] = 1.0
    return np.round(channels / scale).clip(-127, 127), scale


def _weight(operation: Any) -> tuple[Array | None, list[Any]]:
    """The value of a constant that is the weight of layers and nothing else, and these layers."""
    if operation.op_type != "const":
        return None, []
    variable = operation.outputs[0]
    users = variable.child_ops
    fits = [u.op_type in CHANNEL_AXIS and u.inputs["weight"] is variable for u in users]
    value = np.asarray(variable.val)
    if not all(fits) or len({user.op_type for user in users}) != 1 or not np.isfinite(value).all():
        return None, []
    return value, list(users)


def _write_integers(block: Any, constant: Any, axis: int) -> None:
    weight = np.moveaxis(constant.outputs[0].val, axis, 0)
    integers, scale = as_integers(weight.reshape(len(weight), -1))
    data = np.moveaxis(integers.reshape(weight.shape), 0, axis).astype(np.int8)
    scale = scale.astype(constant.outputs[0].val.dtype)
    name = constant.name + "_integers"
    with block, mb.set_before_op(constant):
        if block.opset_version >= AvailableTarget.iOS18:
            shape = [1] * data.ndim
            shape[axis] = -1
            new = mb.constexpr_blockwise_shift_scale(
                data=data, scale=scale.reshape(shape), name=name
            )
        else:
            new = mb.constexpr_affine_dequantize(
                quantized_data=data,
                scale=scale.reshape(-1),
                zero_point=np.int8(0),
                axis=np.int32(axis),
                name=name,
            )
    block.replace_uses_of_var_after_op(
        anchor_op=constant, old_var=constant.outputs[0], new_var=new, no_check_var_types=True
    )
    block.remove_ops([constant])


def _table(bits: int) -> Any:
    table = partial(palette, bits=bits)
    return OpPalettizerConfig(mode="custom", lut_function=table, weight_threshold=0)


def _palettize(prog: Any, tables: dict[str, Any]) -> None:
    """With coremltools' own pass, which packs the places in either generation's form."""
    palettize = PASS_REGISTRY["compression::palettize_weights"]
    palettize.set_options([PassOption("config", OptimizationConfig(op_name_configs=tables))])
    palettize.apply(prog)
