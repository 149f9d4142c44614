"""Where in the network an operation of a captured program comes from."""

from __future__ import annotations

from torch import fx
from torch.export import ExportedProgram

_STACK = "nn_module_stack"
_WRAPPER = "network."
"""What `capture` puts around the network."""


def places(program: ExportedProgram) -> dict[str, str]:
    """Per operation, by name, "in" the innermost module it belongs to; an operation between modules
    is "after" the module whose result it goes back to. Those before every module are left out."""
    found: dict[str, str] = {}
    for node in program.graph.nodes:
        module = _module(node) if node.op == "call_function" else ""
        before = [found[source.name] for source in node.all_input_nodes if source.name in found]
        if module:
            found[node.name] = f"in {module}"
        elif before:
            found[node.name] = "after " + before[0].partition(" ")[2]
    return found


def _module(node: fx.Node) -> str:
    stack = node.meta.get(_STACK) or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self']").strip(".").removeprefix(_WRAPPER) if paths else ""
