"""Finding operations in a captured program."""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram


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
