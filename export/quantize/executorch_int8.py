"""A captured program on 8-bit integers, as XNNPACK computes them.

Static quantization: weights per output channel (symmetric), activations per tensor (affine, the
range seen on the calibration images). What pays there was measured operator by operator on
CARE-S0's shapes (executorch 1.4.1, one x86 core with VNNI), int8 against fp32:

- 1x1 convolutions take a third of the time. They are nine tenths of the arithmetic.
- An activation of one input costs next to nothing: XNNPACK turns dequantize, function, quantize
  into one look-up in a table of 256 bytes. So GELU, which has no int8 kernel, is int8 too.
- Depthwise 3x3 convolutions take 1.1 to 1.2 times as long, but in float, with a conversion on
  either side, the whole network takes 1.1 times as long. Larger ones pay in float: the network
  takes 0.97 times as long, and is 2 dB closer on its worst input.
- Slices and concatenations move a quarter of the bytes, but XNNPACK refuses those whose input and
  output differ in scale. They share one.
- Linear attention stays float: XNNPACK multiplies no two int8 activations.
- The last linear layer rounds its input as it comes and returns float (dynamic quantization):
  eight bits are too few for logits.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    get_symmetric_quantization_config,
)
from torch import fx
from torch.export import ExportedProgram
from torch.fx.passes.shape_prop import ShapeProp
from torchao.quantization.pt2e import MinMaxObserver  # type: ignore[import-untyped]
from torchao.quantization.pt2e.quantize_pt2e import (  # type: ignore[import-untyped]
    convert_pt2e,
    prepare_pt2e,
)
from torchao.quantization.pt2e.quantizer import (  # type: ignore[import-untyped]
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from care_mobile.inputs import Array

_ATEN = torch.ops.aten
_LINEAR = _ATEN.linear.default
_LAYERS = (_ATEN.conv2d.default, _LINEAR)
_CLAMPS = (_ATEN.relu.default, _ATEN.hardtanh.default)
"""XNNPACK fuses these into the layer before them."""
_TABLES = (
    _ATEN.gelu.default,
    _ATEN.hardswish.default,
    _ATEN.leaky_relu.default,
    _ATEN.sigmoid.default,
    _ATEN.tanh.default,
    *_CLAMPS,
)
_SUMS = (_ATEN.add.Tensor, _ATEN.mul.Tensor)
_SLICE = _ATEN.slice.Tensor
_CAT = _ATEN.cat.default
_DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
_DEQUANTIZE_AS_IT_COMES = "quantized_decomposed.dequantize_per_tensor.tensor"
_MAP_RANK = 4
_LARGEST_DEPTHWISE = 9
"""Taps of the largest depthwise kernel that pays in int8."""
_ANNOTATION = "quantization_annotation"
"""Key of a node's `meta` where torchao looks."""

_ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2.0**-12),
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_affine,
)


@dataclass(frozen=True)
class Quantized:
    """A program ready for XNNPACK, and the number of places of each kind."""

    program: ExportedProgram
    places: dict[str, int]


def weights_of(program: ExportedProgram, nodes: Collection[str]) -> frozenset[str]:
    """The placeholders of the weights of layers, by which they are known after rewrites.

    Args:
        nodes: names of nodes of `program`; those that are no layers with a weight do not count.
    """
    layers = [n for n in program.graph.nodes if n.target in _LAYERS and n.name in nodes]
    return frozenset(n.args[1].name for n in layers)


def quantize(
    program: ExportedProgram, images: Array, keep_float: Collection[str] = ()
) -> Quantized:
    """Quantize `program` with the ranges that `images` show.

    Args:
        images: (n, C, H, W), each run by itself as the program takes it.
        keep_float: weights of layers that stay float, as `weights_of` names them. A weight that a
            rewrite has made of such a one, `<name>_rewritten...`, counts as that one.
    """
    kept = [n.name for n in program.graph.nodes if _is_kept(n, keep_float)]
    recipe = _Recipe(frozenset(kept))
    module = program.module()
    _one_bias_per_layer(module)
    module = prepare_pt2e(module, recipe)
    inputs = torch.from_numpy(images).split(1)
    with torch.no_grad():
        for x in inputs:
            module(x)
    module = convert_pt2e(module)
    _dynamic_layers_on_rows(module, inputs[0])
    _one_dequantize_per_reader(module)
    return Quantized(torch.export.export(module, inputs[:1]), recipe.places)


def _is_kept(node: fx.Node, weights: Collection[str]) -> bool:
    if node.target not in _LAYERS:
        return False
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    name, _, _ = weight.name.partition("_rewritten")
    return name in weights or weight.name in weights


class _Recipe(Quantizer):  # type: ignore[misc]  # torchao has no types
    """Annotates what is to be int8; see the module's docstring for why."""

    def __init__(self, keep_float: Collection[str]) -> None:
        super().__init__()
        self._keep_float = keep_float
        self.places: dict[str, int] = {}

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        layers = [node for node in model.graph.nodes if node.target in _LAYERS]
        kept = {node for node in layers if node.name in self._keep_float}
        large = {node for node in layers if _is_large_depthwise(node)} - kept
        chosen = _chosen(model.graph, kept | large)
        for node in model.graph.nodes:
            if node in chosen:
                _annotate(node, chosen)
        count = len(chosen.intersection(layers))
        self.places = {
            "int8-layers": count,
            "int8-other-operations": len(chosen) - count,
            "float-layers-as-asked": len(kept),
            "float-large-depthwise-layers": len(large),
        }
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to add to what torchao checks."""


def _is_large_depthwise(layer: fx.Node) -> bool:
    weight = layer.args[1]
    assert isinstance(weight, fx.Node)
    shape = weight.meta["val"].shape
    # (out, in per group, height, width)
    return len(shape) == 4 and shape[1] == 1 and shape[2:].numel() > _LARGEST_DEPTHWISE


def _chosen(graph: fx.Graph, kept: Collection[fx.Node]) -> set[fx.Node]:
    """Layers, and operations that come from int8 and lead to int8: no islands of either kind."""
    operators = (*_LAYERS, *_TABLES, *_SUMS, _SLICE, _CAT)
    chosen = {n for n in graph.nodes if n.target in operators and n not in kept and _is_float(n)}
    while True:
        staying = {node for node in chosen if _belongs(node, chosen)}
        if staying == chosen:
            return chosen
        chosen = staying


def _is_float(node: fx.Node) -> bool:
    return isinstance(value := node.meta["val"], torch.Tensor) and value.dtype == torch.float32


def _belongs(node: fx.Node, chosen: Collection[fx.Node]) -> bool:
    if node.target in _LAYERS:
        weight = node.args[1]
        return isinstance(weight, fx.Node) and weight.op == "get_attr"
    if not any(user in chosen for user in node.users):
        return False
    operands = _operands(node)
    if node.target is _CAT:
        return any(operand in chosen for operand in operands)
    wanted = 2 if node.target in _SUMS else 1
    return len(operands) == wanted and all(operand in chosen for operand in operands)


def _operands(node: fx.Node) -> list[fx.Node]:
    """Tensors that a chosen operation other than a layer reads, in order."""
    given = node.args[0] if node.target is _CAT else node.args
    assert isinstance(given, list | tuple)
    return [operand for operand in given if isinstance(operand, fx.Node)]


def _annotate(node: fx.Node, chosen: Collection[fx.Node]) -> None:
    result: Any = None if _fused_clamp(node, chosen) else _ACTIVATION
    inputs: dict[fx.Node, Any]
    if node.target in _LAYERS:
        source, weight = node.args[:2]
        assert isinstance(source, fx.Node) and isinstance(weight, fx.Node)
        dynamic = node.target is _LINEAR and not any(user in chosen for user in node.users)
        config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
        inputs = {source: config.input_activation if dynamic else _ACTIVATION}
        inputs[weight] = config.weight
        result = None if dynamic else result
    elif node.target in (_SLICE, _CAT):
        first, *others = _operands(node)
        result = SharedQuantizationSpec((first, node))
        inputs = dict.fromkeys(others, result) | {first: _ACTIVATION}
    elif _is_fused(node, chosen):
        inputs = {}
    else:
        inputs = dict.fromkeys(_operands(node), _ACTIVATION)
    node.meta[_ANNOTATION] = QuantizationAnnotation(
        input_qspec_map=inputs, output_qspec=result, _annotated=True
    )


def _fused_clamp(node: fx.Node, chosen: Collection[fx.Node]) -> bool:
    """Whether the only reader of a layer is a clamp, into which its result goes unrounded."""
    if node.target not in _LAYERS or len(node.users) != 1:
        return False
    (reader,) = node.users
    return reader.target in _CLAMPS and reader in chosen


def _is_fused(node: fx.Node, chosen: Collection[fx.Node]) -> bool:
    return node.target in _CLAMPS and _fused_clamp(_operands(node)[0], chosen)


def _one_dequantize_per_reader(module: fx.GraphModule) -> None:
    """Let no two operations read one dequantized tensor.

    Where one of them wants channels first and another channels last, executorch 1.4.1 gives both
    the copy made for one, and silently computes nonsense (its ChannelsLastTaggedReshapePass
    replaces all uses of the dequantized tensor).
    """
    for node in list(module.graph.nodes):
        if str(node.target) != _DEQUANTIZE:
            continue
        for reader in list(node.users)[1:]:
            with module.graph.inserting_before(reader):
                own = module.graph.call_function(node.target, node.args, node.kwargs)
            own.meta = dict(node.meta)
            reader.replace_input_with(node, own)
    module.recompile()


def _one_bias_per_layer(module: fx.GraphModule) -> None:
    """Give each use of a layer that is used several times a bias of its own.

    A bias is rounded in steps of input times weight, which differ from use to use; executorch 1.4.1
    rounds a shared one for its first reader only.
    """
    seen: set[str] = set()
    for layer in [node for node in module.graph.nodes if node.target in _LAYERS]:
        bias = layer.args[2] if len(layer.args) > 2 else None
        if not isinstance(bias, fx.Node) or bias.op != "get_attr":
            continue
        if str(bias.target) in seen:
            name = f"{str(bias.target).replace('.', '_')}_of_{layer.name}"
            held = operator.attrgetter(str(bias.target))(module)
            module.register_buffer(name, held.detach().clone())
            with module.graph.inserting_before(layer):
                own = module.graph.get_attr(name)
            own.meta = dict(bias.meta)
            layer.update_arg(2, own)
        seen.add(str(bias.target))
    module.recompile()


def _dynamic_layers_on_rows(module: fx.GraphModule, example: torch.Tensor) -> None:
    """Let linear layers that round their input as it comes read rows (n, channels), not maps.

    A map may lie in memory channels last. executorch 1.4.1 then copies it between its rounding and
    the layer, which XNNPACK no longer knows for a rounded one ("Weight and Input should both be
    quantized"). Rows have one layout.
    """
    graph = module.graph
    with torch.no_grad():
        ShapeProp(module).propagate(example)
    on_maps = [node for node in graph.nodes if _rounds_a_map(node)]
    for source, measured, rounded in dict.fromkeys(_rounding(layer) for layer in on_maps):
        with graph.inserting_before(measured):
            channels = source.meta["tensor_meta"].shape[-1]
            rows = graph.call_function(_ATEN.reshape.default, (source, [-1, channels]))
        measured.replace_input_with(source, rows)
        rounded.replace_input_with(source, rows)
    for layer in on_maps:
        with graph.inserting_after(layer):
            whole = graph.call_function(_ATEN.reshape.default)
        layer.replace_all_uses_with(whole)
        whole.args = (layer, list(layer.meta["tensor_meta"].shape))
    graph.lint()
    module.recompile()


def _rounding(layer: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node]:
    """The map that a dynamically quantized layer reads, what measures it, and what rounds it."""
    rounded = _node(_node(layer.args[0]).args[0])
    scale = _node(rounded.args[1])
    return _node(rounded.args[0]), _node(scale.args[0]), rounded


def _node(argument: object) -> fx.Node:
    assert isinstance(argument, fx.Node)
    return argument


def _rounds_a_map(node: fx.Node) -> bool:
    if node.target is not _LINEAR or str(_node(node.args[0]).target) != _DEQUANTIZE_AS_IT_COMES:
        return False
    return len(_rounding(node)[0].meta["tensor_meta"].shape) == _MAP_RANK
