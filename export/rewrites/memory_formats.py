"""Tensors in one layout, whatever `memory_format` the network or its weights ask for.

    clone(x, channels_last) = clone(x)        weight (channels last) = weight (contiguous)

How a tensor lies in memory changes no number, but XNNPACK's passes (executorch 1.4.1) choose
layouts themselves and stumble over weights that already have another. Views that only that layout
allows become reshapes, which every layout does.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from .nodes import changed

_ATEN = torch.ops.aten
_FORMAT = "memory_format"
_ONE_LAYOUT = (torch.contiguous_format, torch.preserve_format)
_VIEWS = (_ATEN.view.default, _ATEN._unsafe_view.default)


def memory_formats_left_out(program: ExportedProgram) -> int:
    """Make every weight and every copy contiguous; returns the number of both that were not."""
    held = [_contiguous(program.state_dict), _contiguous(program.constants)]
    places = sum(held) + sum(_plain(node) for node in program.graph.nodes)
    if places:
        _work_out_again(program)
    return places


def _contiguous(tensors: dict[str, Tensor]) -> int:
    count = 0
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not tensor.is_contiguous():
            plain = tensor.detach().contiguous()
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            tensors[name] = torch.nn.Parameter(plain, False) if is_parameter else plain
            count += 1
    return count


def _plain(node: fx.Node) -> int:
    """Let a copy keep the layout it finds; 1 if it asked for another."""
    asked = node.kwargs.get(_FORMAT)
    if node.target is _ATEN.contiguous.default and len(node.args) > 1:
        asked, node.args = node.args[1], node.args[:1]
    if asked is None or asked in _ONE_LAYOUT:
        return 0
    node.kwargs = {key: value for key, value in node.kwargs.items() if key != _FORMAT}
    return 1


def _work_out_again(program: ExportedProgram) -> None:
    """Layouts of all values from those of the inputs and weights."""
    graph = program.graph_module.graph
    values = []
    for node in graph.nodes:
        if node.op == "placeholder":
            node.meta["val"] = _one_layout(node.meta["val"])
            values.append(node.meta["val"])
        elif node.target in _VIEWS:
            node.target = _ATEN.reshape.default
    mode = next(value.fake_mode for value in values if isinstance(value, FakeTensor))
    FakeTensorProp(program.graph_module, mode).propagate_dont_convert_inputs(*values)
    changed(program)


def _one_layout(value: object) -> object:
    return value.contiguous() if isinstance(value, Tensor) else value
