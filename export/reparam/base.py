"""What every reparameterization is, and the tools to look at a traced network."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, cast

import torch
from torch import Tensor, fx, nn

from care_mobile.bundle import LeftAlone

ModuleT = TypeVar("ModuleT", bound=nn.Module)
ConvNd = nn.Conv1d | nn.Conv2d | nn.Conv3d

SHAPE = "shape"
"""Key of a node's `meta`: the shape of its value in the latest `trace.run`."""

ADD = (operator.add, operator.iadd, torch.add)
MUL = (operator.mul, operator.imul, torch.mul)


@dataclass(frozen=True)
class PassResult:
    """What a pass did: the new network, the places changed, the places left alone.

    No places means there was nothing to do, so running a pass twice changes nothing.
    """

    model: fx.GraphModule
    changed: tuple[str, ...]
    left: tuple[LeftAlone, ...] = ()

    @property
    def places(self) -> int:
        """How many places were changed."""
        return len(self.changed)


@dataclass(frozen=True)
class Pass:
    """An equivalence: `rewrite` edits the network it is given and reports what it did.

    It asks `NetworkEditor.claim` before it edits a place and tells `NetworkEditor.leave` of one
    it leaves.
    """

    name: str
    summary: str
    rewrite: Callable[[NetworkEditor], None]

    def __call__(
        self,
        model: fx.GraphModule,
        *,
        without: Mapping[str, str] = MappingProxyType({}),
        most: int | None = None,
        claimed: list[str] | None = None,
    ) -> PassResult:
        """Apply to a copy of `model`; the argument stays as it was.

        Args:
            without: places to leave alone -> why.
            most: change only the first so many of the others.
            claimed: gets the name of every place before it is changed.
        """
        network = NetworkEditor(copy.deepcopy(model), without, most, claimed)
        self.rewrite(network)
        return network.result()


class NetworkEditor:
    """A traced network being edited by one pass.

    Passes find places with the readers, call `claim` or `leave` once per place, and edit what
    they may with `replace` and the modules themselves.
    """

    def __init__(
        self,
        model: fx.GraphModule,
        without: Mapping[str, str] = MappingProxyType({}),
        most: int | None = None,
        claimed: list[str] | None = None,
    ) -> None:
        self.model = model
        self.graph = model.graph
        self._without = without
        self._most = most
        self._changed = [] if claimed is None else claimed
        self._left: list[LeftAlone] = []

    def claim(self, node: fx.Node) -> bool:
        """Whether the place at `node` may be changed; if so, it counts as changed."""
        place = _place(node)
        if place in self._without:
            reason = self._without[place]
            self._left.append(LeftAlone(place=place, reason=reason, unproven=True))
            return False
        if self._most is not None and len(self._changed) >= self._most:
            return False
        self._changed.append(place)
        return True

    def leave(self, node: fx.Node, reason: str) -> None:
        self._left.append(LeftAlone(place=_place(node), reason=reason))

    def result(self) -> PassResult:
        if self._changed:
            self.graph.eliminate_dead_code()
            self.model.delete_all_unused_submodules()
            self.graph.lint()
            self.model.recompile()
        return PassResult(self.model, tuple(self._changed), tuple(self._left))

    # Reading ------------------------------------------------------------------------------

    def module(
        self, node: object, kind: type[ModuleT] | tuple[type[ModuleT], ...]
    ) -> ModuleT | None:
        """The module of type `kind` that `node` calls, else None."""
        if not isinstance(node, fx.Node) or node.op != "call_module":
            return None
        found = self.model.get_submodule(str(node.target))
        return found if isinstance(found, kind) else None

    def calls(
        self, kind: type[ModuleT] | tuple[type[ModuleT], ...]
    ) -> Iterator[tuple[fx.Node, ModuleT]]:
        """Every (node, module) that calls a module of type `kind`, in order of execution."""
        for node in list(self.graph.nodes):
            module = self.module(node, kind)
            if module is not None:
                yield node, module

    def convolution(self, node: object) -> ConvNd | None:
        """The convolution `node` calls (not transposed, one, two or three dimensions)."""
        found = self.module(node, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        return cast("ConvNd | None", found)

    def why_shared(self, node: fx.Node) -> str | None:
        """Why the weights of the module `node` calls may not be edited, or None if they may."""
        callers = sum(n.op == "call_module" and n.target == node.target for n in self.graph.nodes)
        if callers > 1:
            return f"{node.target} is called in {callers} places"
        mine = {id(p) for p in self.model.get_submodule(str(node.target)).parameters()}
        for name, module in self.model.named_modules():
            own = (id(p) for p in module.parameters(recurse=False))
            if (
                name != node.target
                and not str(node.target).startswith(f"{name}.")
                and mine & set(own)
            ):
                return f"{node.target} shares its weights with {name or 'the network'}"
        return None

    def shape(self, node: object) -> tuple[int, ...] | None:
        """The shape of the value of `node` for the proof's input, None if not recorded."""
        found = node.meta.get(SHAPE) if isinstance(node, fx.Node) else None
        return cast("tuple[int, ...] | None", found)

    def constant(self, node: object) -> Tensor | None:
        """The value of `node` if it depends on parameters only, else None."""
        if isinstance(node, int | float):
            return torch.tensor(node)
        if not isinstance(node, fx.Node):
            return None
        if node.op == "get_attr":
            return _attribute(self.model, str(node.target))
        if not node.all_input_nodes or not _repeatable(node):
            return None
        values = {n: self.constant(n) for n in node.all_input_nodes}
        if any(value is None for value in values.values()):
            return None
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
        with torch.no_grad():
            if node.op == "call_method":
                owner, *rest = args
                value = getattr(owner, str(node.target))(*rest, **kwargs)
            else:
                assert callable(node.target)
                value = node.target(*args, **kwargs)
        return value if isinstance(value, Tensor) else None

    def per_channel(self, node: object, channels: int) -> Tensor | None:
        """A constant factor per channel of an NCHW map, as a vector (channels,), else None.

        Accepts what broadcasts as (C, 1, 1), (1, C, 1, 1) or a single number.
        """
        value = self.constant(node)
        if value is None:
            return None
        if value.numel() == 1:
            return value.detach().reshape(1).expand(channels)
        shape = value.shape if value.dim() == 4 else (1, *value.shape)
        if tuple(shape) != (1, channels, 1, 1):
            return None
        return value.detach().reshape(channels)

    # Editing ------------------------------------------------------------------------------

    def replace(self, old: fx.Node, new: fx.Node) -> None:
        """Let `new` stand for `old`, and erase what nobody reads any more.

        Without the erasing, a value would keep readers that no longer exist.
        """
        old.replace_all_uses_with(new)
        dead = [old]
        while dead:
            node = dead.pop()
            if not node.users and node.op in ("call_function", "call_method", "call_module"):
                dead += node.all_input_nodes
                self.graph.erase_node(node)

    def add_module(self, near: fx.Node, suffix: str, module: nn.Module) -> str:
        """Register `module` under a fresh name derived from `near`; returns the name."""
        base = str(near.target) if near.op == "call_module" else near.name
        name = stem = f"{base.replace('.', '_')}_{suffix}"
        count = 1
        while hasattr(self.model, name):
            count += 1
            name = f"{stem}_{count}"
        self.model.add_submodule(name, module)
        return name

    def add_constant(self, near: fx.Node, suffix: str, value: Tensor) -> fx.Node:
        """A node yielding `value`, held as a buffer of the network; inserted at the cursor."""
        name = f"{near.name}_{suffix}"
        self.model.register_buffer(name, value)
        return self.graph.get_attr(name)


def _place(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_module" else node.name


def binary(
    node: object, functions: tuple[Callable[..., object], ...]
) -> tuple[object, object] | None:
    """The two operands of `node` if it calls one of `functions` on exactly two, else None."""
    if not isinstance(node, fx.Node) or len(node.args) != 2 or node.kwargs:
        return None
    method = node.op == "call_method" and node.target in {f.__name__ for f in functions}
    if method or (node.op == "call_function" and node.target in functions):
        return node.args[0], node.args[1]
    return None


def concatenated(node: object) -> list[fx.Node]:
    """The parts of a concatenation along the channels, else none."""
    if not isinstance(node, fx.Node) or node.target is not torch.cat or not node.args:
        return []
    dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    parts = node.args[0]
    return list(parts) if dim == 1 and isinstance(parts, list | tuple) else []  # type: ignore[arg-type]


def only_user(node: fx.Node) -> fx.Node | None:
    """The single user of `node`, or None when there are several or none."""
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def set_bias(module: nn.Module, bias: Tensor) -> None:
    """Give a convolution or linear layer this bias, whether it had one or not."""
    module.bias = nn.Parameter(bias.detach(), requires_grad=False)


def _repeatable(node: fx.Node) -> bool:
    """Whether `node` calls a function that gives the same for the same and changes nothing."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return node.op in ("call_function", "call_method")
    random = torch.Tag.nondeterministic_seeded in target.tags
    return not random and not target._schema.is_mutable


def _attribute(root: nn.Module, path: str) -> Tensor | None:
    owner, _, name = path.rpartition(".")
    value = getattr(root.get_submodule(owner), name)
    return value if isinstance(value, Tensor) else None
