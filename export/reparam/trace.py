"""From any nn.Module to a graph that passes can edit.

`torch.fx` follows the Python code of a network once. Code that decides on values or shapes cannot
be followed; the module that holds it then stays whole (*opaque*), and the rest is still traced.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from care_mobile.models.care import LinearAttention

from .base import SHAPE

WHOLE = (LinearAttention,)
"""Modules kept as one node because a pass replaces them as a whole."""


class _Opaque(Exception):
    def __init__(self, module: nn.Module, cause: Exception) -> None:
        super().__init__(str(cause))
        self.module = module


class _Tracer(fx.Tracer):
    def __init__(self, opaque: dict[nn.Module, str]) -> None:
        super().__init__()
        self.opaque = opaque

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        kept = isinstance(m, WHOLE) or m in self.opaque
        return kept or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except _Opaque:
            raise
        except Exception as error:  # whatever the user's code raised on a symbolic value
            raise _Opaque(m, error) from error


class _Whole(nn.Module):
    """Holds a network whose own forward cannot be followed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> Any:
        return self.network(x)


def trace(module: nn.Module) -> tuple[fx.GraphModule, dict[str, str]]:
    """Trace `module` in evaluation mode.

    Returns the graph and, per opaque submodule, why it could not be followed.
    """
    opaque: dict[nn.Module, str] = {}
    root = module
    while True:
        tracer = _Tracer(opaque)
        try:
            graph = tracer.trace(root)
            break
        except _Opaque as stopped:
            opaque[stopped.module] = _first_line(stopped)
        except Exception as error:
            if root is not module:
                raise
            root = _Whole(module)
            opaque[module] = _first_line(error)
    model = fx.GraphModule(root, graph)
    if model.graph.eliminate_dead_code():
        model.recompile()
    names = {m: n for n, m in root.named_modules()}
    return model.eval(), {names[m]: reason for m, reason in opaque.items()}


class _Recorder(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            n.meta[SHAPE] = tuple(value.shape)
        return value


def run(model: fx.GraphModule, x: torch.Tensor) -> Any:
    """`model(x)`, leaving with every node the shape of its value for passes that need to know."""
    return _Recorder(model).run(x)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
