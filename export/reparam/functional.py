"""A captured program as a graph that passes can read: no writing in place, no state, no checks.

`torch.export` sees what a network does: in-place calls whose result nobody names, the branch that
defaults choose, hooks, weights computed from other weights. What it brings is in ATen operators;
here parameters, buffers and constants become attributes under `state`, and what a network writes
into its own buffers is dropped: a bundle answers every call like the network as it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

ROOT = "network"
"""Name of the network inside the module that is captured."""
STATE = "state"
"""Name of the submodule that holds a program's tensors."""

_NOTHING = ("aten::alias", "aten::detach", "aten::lift_fresh_copy", "aten::lift_fresh")
_IN_TRAINING = {  # operator -> the place of the flag that makes it act
    "aten::dropout": 2,
    "aten::feature_dropout": 2,
    "aten::alpha_dropout": 2,
    "aten::feature_alpha_dropout": 2,
}


@dataclass
class State:
    """What is known of a program's tensors, which are buffers under `state`, by their leaf names.

    It lives in the `meta` of a GraphModule, which copies keep.

    Attributes:
        names: their names in the network.
        native: their element types in the network.
    """

    names: dict[str, str] = field(default_factory=dict)
    native: dict[str, torch.dtype] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> str:
        """Choose a leaf name for a tensor of the network."""
        leaf = base = re.sub(r"\W", "_", name) or "tensor"
        count = 1
        while leaf in self.names or hasattr(nn.Module, leaf):
            count += 1
            leaf = f"{base}_{count}"
        self.names[leaf] = name
        self.native[leaf] = value.dtype
        return leaf


def state_of(model: fx.GraphModule) -> State:
    """The bookkeeping of a `functional` graph."""
    state = model.meta[STATE]
    assert isinstance(state, State)
    return state


def load_state(model: fx.GraphModule, network: nn.Module) -> None:
    """Give a `functional` graph the parameters and buffers of `network`, which has its names."""
    values = {
        **dict(network.named_parameters(remove_duplicate=False)),
        **dict(network.named_buffers(remove_duplicate=False)),
    }
    held = getattr(model, STATE, nn.Module())._buffers
    for leaf, name in state_of(model).names.items():
        if name in values and leaf in held:
            held[leaf] = values[name].detach()


def functional(program: ExportedProgram) -> fx.GraphModule:
    """The graph of `program`: one input, one output or a tuple of them; tensors under `state`."""
    if not _out_of_place(program.graph):
        program = program.run_decompositions({})
    root = nn.Module()
    for name, part in program.graph_module.named_children():
        root.add_module(name, part)
    state, held = State(), nn.Module()
    root.add_module(STATE, held)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    tensors = _tensors(program)
    for node in program.graph.nodes:
        if node.name in tensors:
            name, value = tensors[node.name]
            leaf = state.add(name, value)
            held.register_buffer(leaf, value.detach())
            copies[node] = graph.get_attr(f"{STATE}.{leaf}")
            copies[node].meta["val"] = node.meta.get("val")
        elif node.op != "output":
            copies[node] = graph.node_copy(node, lambda n: copies[n])
    by_name = {node.name: copy for node, copy in copies.items()}
    outputs = [
        by_name[str(spec.arg.name)]
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
    _remove_nothings(graph)
    graph.eliminate_dead_code()
    model = fx.GraphModule(root, graph)
    model.meta[STATE] = state
    return model


def _tensors(program: ExportedProgram) -> dict[str, tuple[str, Tensor]]:
    """Placeholder -> name and value, for all but the input."""
    found = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            name = str(spec.target)
            held = program.state_dict if name in program.state_dict else program.constants
            found[str(spec.arg.name)] = (name.removeprefix(f"{ROOT}."), held[name])
    return found


def _remove_nothings(graph: fx.Graph) -> None:
    """Erase what returns its input, and checks of metadata, which are fixed by now."""
    for node in list(graph.nodes):
        if name_of(node) == "aten::_assert_tensor_metadata":
            graph.erase_node(node)
        elif does_nothing(node):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def does_nothing(node: fx.Node) -> bool:
    """Whether `node` returns its first argument as it is."""
    name = name_of(node)
    if name in _IN_TRAINING:
        place = _IN_TRAINING[name]
        acts = node.args[place] if len(node.args) > place else node.kwargs.get("train", True)
        return not acts
    if name in ("aten::to", "aten::_to_copy"):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        one, two = source.meta.get("val"), node.meta.get("val")
        return isinstance(one, Tensor) and isinstance(two, Tensor) and one.dtype == two.dtype
    return name in _NOTHING


def name_of(node: fx.Node) -> str:
    """Operator of an ATen call without its overload (`aten::add`), else an empty string."""
    target = node.target
    return target._schema.name if isinstance(target, torch._ops.OpOverload) else ""


def _out_of_place(graph: fx.Graph) -> bool:
    """Make simple in-place calls of `graph` return new tensors; False if there are others.

    Simple: the tensor written to is an intermediate that shares its memory with no other. Whoever
    reads it later then reads the result.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        target = node.target
        if isinstance(target, torch._ops.HigherOrderOperator):
            return False
        if not isinstance(target, torch._ops.OpOverload):
            continue
        if name_of(node) == "aten::batch_norm" and bool(node.args[5]) and not _forgets(node):
            return False
        if _counts(node):
            graph.erase_node(node)
            continue
        if not target._schema.is_mutable:
            continue
        written = node.args[0]
        plain = _plain(target)
        if plain is None or not isinstance(written, fx.Node) or not _alone(written, node):
            return False
        if not _keeps(plain, node):
            return False
        for reader in list(written.users):
            if order[reader] > order[node]:
                reader.replace_input_with(written, node)
        node.target = plain
    return True


def _forgets(norm: fx.Node) -> bool:
    """Take the statistics from a BatchNorm in training, which writes them and does not read them.

    False where something else does.
    """
    kept = [node for node in norm.args[3:5] if isinstance(node, fx.Node)]
    if any(node.op != "placeholder" or len(node.users) > 1 for node in kept):
        return False
    norm.args = (*norm.args[:3], None, None, *norm.args[5:])
    return True


def _counts(node: fx.Node) -> bool:
    """Whether `node` only writes into state that nothing else reads, as a count of batches."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable or node.users:
        return False
    written = node.args[0] if node.args else None
    alone = isinstance(written, fx.Node) and written.op == "placeholder" and len(written.users) == 1
    return alone and _plain(target) is not None


def _plain(target: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """The operator that returns what `target` writes into its first argument, if there is one."""
    schema = target._schema
    writes = [a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    name = schema.name.removeprefix("aten::")
    if writes != [schema.arguments[0]] or not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    for overload in packet.overloads() if packet is not None else ():
        found = getattr(packet, overload)
        assert isinstance(found, torch._ops.OpOverload)
        if not found._schema.is_mutable and _takes(found) == _takes(target):
            return found
    return None


def _takes(target: torch._ops.OpOverload) -> list[tuple[str, str]]:
    """Names and types of its arguments: overloads of one name may differ between the two forms."""
    return [(argument.name, str(argument.type)) for argument in target._schema.arguments]


def _alone(written: fx.Node, writer: fx.Node) -> bool:
    """Whether no other node shares memory with `written`, and writing keeps its shape and type."""
    if not isinstance(written.target, torch._ops.OpOverload):
        return False
    if _shares(written.target):
        return False
    one, two = written.meta.get("val"), writer.meta.get("val")
    if not isinstance(one, Tensor) or not isinstance(two, Tensor):
        return False
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    return all(
        isinstance(user.target, torch._ops.OpOverload)
        and (user is writer or user.target._schema.is_mutable or not _shares(user.target))
        for user in written.users
    )


def _keeps(plain: torch._ops.OpOverload, writer: fx.Node) -> bool:
    """Whether `plain` gives what `writer` does in the type of what that writes to.

    A comparison gives truth values, and operands in a wider type give that type.
    """
    one = writer.meta["val"]
    args, kwargs = fx.node.map_arg((writer.args, writer.kwargs), lambda node: node.meta["val"])
    with one.fake_mode:
        two = plain(*args, **kwargs)
    return isinstance(two, Tensor) and one.shape == two.shape and one.dtype == two.dtype


def _shares(target: torch._ops.OpOverload) -> bool:
    """Whether a result of `target` may share memory with an argument of it."""
    schema = target._schema
    if any(result.alias_info is not None for result in schema.returns):
        return True
    # Composites do not always declare it: dropout returns its input in evaluation.
    composite = target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return composite and schema.name not in _FRESH


_FRESH = frozenset(
    f"aten::{name}"
    for name in (
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "linear", "matmul", "relu6",
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "max_pool2d", "silu", "selu",
        "scaled_dot_product_attention", "pixel_shuffle",
    )
)  # fmt: skip
"""Composite operators whose results are always new: the others may return a view."""
