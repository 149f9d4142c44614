"""A captured program in float64, and back in its own types.

Calling `.double()` on a network leaves what its code fixes in float32: a constant kernel that is no
buffer, `arange`, `eye`, `x.float()`, a layer in half precision. In the captured program all of
these are visible: tensors under `state`, and element types that operators are given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from .functional import STATE, state_of

_WIDER = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
}
NATIVE = "native"
"""Key of a node's `meta`: the element types it was given, by argument; None for the default."""


class NotDouble(Exception):
    """A program that cannot be computed in float64."""


def doubled(model: fx.GraphModule) -> fx.GraphModule:
    """A copy of `model` that computes in float64 whatever is floating point.

    Raises:
        NotDouble: if an operator reads the bits of numbers.
    """
    result = copy.deepcopy(model)
    for part in _graphs(result):
        for node in part.graph.nodes:
            if isinstance(node.target, torch._ops.OpOverload):
                _widen(node, node.target)
        part.recompile()
    _convert(result, lambda module, name, value: _WIDER.get(value.dtype, value.dtype))
    return result


@torch.no_grad()
def restored(model: fx.GraphModule) -> fx.GraphModule:
    """A copy of `model` in its program's own types; what passes added, in float32."""
    result = copy.deepcopy(model)
    for part in _graphs(result):
        for node in part.graph.nodes:
            _narrow(node)
        part.recompile()
    held, native = getattr(result, STATE, None), state_of(result).native
    narrower = {torch.float64: torch.float32, torch.complex128: torch.complex64}

    def wanted(module: nn.Module, name: str, value: Tensor) -> torch.dtype:
        return native[name] if module is held else narrower.get(value.dtype, value.dtype)

    _convert(result, wanted)
    return result


def _convert(model: nn.Module, wanted: Callable[[nn.Module, str, Tensor], torch.dtype]) -> None:
    """Give all tensors of `model` the element type `wanted`; those that share memory still do."""
    done: dict[tuple[object, ...], Tensor] = {}
    for module in model.modules():
        tables: tuple[dict[str, Any], ...] = (module._buffers, module._parameters)
        for held in tables:
            for name, value in held.items():
                if value is None:
                    continue
                dtype = wanted(module, name, value)
                key = (held is module._parameters, *memory_of(value), value.dtype, dtype)
                if value.numel() == 0 or key not in done:
                    new = value.detach().to(dtype)
                    done[key] = (
                        nn.Parameter(new, requires_grad=False)
                        if held is module._parameters
                        else new
                    )
                held[name] = done[key]


def memory_of(value: Tensor) -> tuple[object, ...]:
    """What two tensors have in common that are the same memory."""
    return value.data_ptr(), tuple(value.shape), tuple(value.stride())


def _graphs(model: fx.GraphModule) -> list[fx.GraphModule]:
    """The graph and those of branches and loops inside it."""
    return [part for part in model.modules() if isinstance(part, fx.GraphModule)]


def _widen(node: fx.Node, target: torch._ops.OpOverload) -> None:
    """Replace the element types `node` is given; give one where it takes the default."""
    schema = target._schema
    if schema.name == "aten::view" and target._overloadname == "dtype":
        raise NotDouble(f"{node.name} reads the bits of numbers")
    native: dict[str, torch.dtype | None] = {}
    for place, argument in enumerate(schema.arguments):
        positional = place < len(node.args) and not argument.kwarg_only
        given = node.args[place] if positional else node.kwargs.get(argument.name)
        if isinstance(given, torch.dtype) and given in _WIDER:
            native[argument.name] = given
        elif argument.name == "dtype" and given is None and _makes(node):
            native[argument.name] = None
    for name, given in native.items():
        _give(node, name, _WIDER[given] if given is not None else torch.float64)
    node.meta[NATIVE] = native


def _makes(node: fx.Node) -> bool:
    """Whether `node` makes a tensor of the default floating type out of nothing."""
    value = node.meta.get("val")
    return (
        isinstance(value, Tensor)
        and value.dtype is torch.float32
        and not any(isinstance(n.meta.get("val"), Tensor) for n in node.all_input_nodes)
    )


def _narrow(node: fx.Node) -> None:
    for name, dtype in node.meta.pop(NATIVE, {}).items():
        _give(node, name, dtype)


def _give(node: fx.Node, name: str, dtype: torch.dtype | None) -> None:
    """Set the argument `name` of the operator that `node` calls."""
    assert isinstance(node.target, torch._ops.OpOverload)
    names = [argument.name for argument in node.target._schema.arguments]
    place = names.index(name)
    if place < len(node.args):
        node.update_arg(place, dtype)
    elif dtype is None:
        node.kwargs = {key: value for key, value in node.kwargs.items() if key != name}
    else:
        node.update_kwarg(name, dtype)
