"""Where in the network an operation of a captured program comes from."""

from __future__ import annotations

from torch import fx
from torch.export import ExportedProgram

_STACK = "nn_module_stack"
_WRAPPER = "network."
"""What `capture` puts around the network."""


def places(program: ExportedProgram) -> dict[str, str]:
    """The innermost module of every operation, by the operation's name; those without are left
    out."""
    named = {node.name: _module(node) for node in program.graph.nodes if node.op == "call_function"}
    return {name: place for name, place in named.items() if place}


def _module(node: fx.Node) -> str:
    stack = node.meta.get(_STACK) or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self']").strip(".").removeprefix(_WRAPPER) if paths else ""
