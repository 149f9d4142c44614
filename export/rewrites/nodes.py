"""Finding operations in a captured program, and adding operations and constants to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument


def calls(program: ExportedProgram, *targets: torch._ops.OpOverload) -> list[fx.Node]:
    """Every call of one of `targets`, in order."""
    nodes = program.graph_module.graph.nodes
    return [node for node in nodes if node.op == "call_function" and node.target in targets]


def replace(program: ExportedProgram, node: fx.Node, new: fx.Node) -> None:
    """Let `new` stand for `node`, in the program's signature too, and erase `node`."""
    node.replace_all_uses_with(new)
    program.graph_signature.replace_all_uses(node.name, new.name)
    program.graph_module.graph.erase_node(node)


def changed(program: ExportedProgram) -> None:
    """Check and recompile an edited program."""
    program.graph_module.graph.lint()
    program.graph_module.recompile()


def emit(graph: fx.Graph, target: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> fx.Node:
    """A new call at the graph's insertion point, its value's shape and type worked out."""
    node: fx.Node = graph.call_function(target, args, kwargs)
    values, named = fx.map_arg((args, kwargs), lambda operand: operand.meta["val"])
    node.meta["val"] = target(*values, **named)
    return node


def number(graph: fx.Graph, value: float, like: fx.Node) -> fx.Node:
    """A constant tensor of rank 0 in the element type of `like`, at the graph's insertion point."""
    dtype = like.meta["val"].dtype
    node = graph.call_function(torch.ops.aten.full.default, ([], value), {"dtype": dtype})
    node.meta["val"] = like.meta["val"].new_empty(())
    return node


def static_shape(node: object) -> tuple[int, ...] | None:
    """The shape of a floating-point tensor, unless a dimension is free."""
    value = node.meta["val"] if isinstance(node, fx.Node) else None
    if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
        return None
    sizes = tuple(value.shape)
    return sizes if all(isinstance(size, int) for size in sizes) else None


def constant_of(program: ExportedProgram, node: object) -> Tensor | None:
    """The parameter or buffer that `node` stands for, if it never changes."""
    if not isinstance(node, fx.Node) or node.op != "placeholder":
        return None
    signature = program.graph_signature
    name = signature.inputs_to_parameters.get(node.name) or signature.inputs_to_buffers.get(
        node.name
    )
    if name is None or name in signature.buffers_to_mutate.values():
        return None
    held: Tensor = (
        program.state_dict[name] if name in program.state_dict else program.constants[name]
    )
    return held


def add_constant(program: ExportedProgram, name: str, tensor: Tensor) -> fx.Node:
    """A new parameter with `name` in its name; it comes before all other inputs of the graph."""
    graph = program.graph_module.graph
    first = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_before(first):
        node: fx.Node = graph.placeholder(f"{name}_rewritten")
    node.target = node.name  # which the graph has made unique
    value = tensor.detach().clone(memory_format=torch.contiguous_format)
    fake_mode = first.meta["val"].fake_mode
    node.meta["val"] = fake_mode.from_tensor(value, static_shapes=True)
    program.state_dict[node.name] = torch.nn.Parameter(value, requires_grad=False)
    spec = InputSpec(InputKind.PARAMETER, TensorArgument(node.name), node.name)
    program.graph_signature.input_specs.insert(0, spec)
    return node
