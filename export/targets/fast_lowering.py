"""Lowering without the work that changes nothing.

Converters re-trace a program node by node, in Python: ExecuTorch some 40 times for the 650
operations of CARE-S0. `lean_tracing`, for every converter,

1. shares provenance records, which each re-traced node deep-copies from its origin, a chain that
   grows with every pass: nobody edits them;
2. generates and compiles the source of a graph when it is first called, which most never are.

`fast_lowering`, for ExecuTorch, adds to that

3. skipping a pass that only re-traces (most of XNNPACK's end with `super().call(graph)`) when the
   graph is as the last re-trace left it;
4. not exporting and searching XNNPACK's patterns for bilinear resizing and attention in programs
   that have none of their operators.

The written file is the same, byte for byte; a test compares. All four touch internals of
executorch 1.4 and torch 2.13, which this project pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

_PATTERN_OPERATORS = ("upsample", "index", "softmax", "scaled_dot_product")


@contextmanager
def lean_tracing() -> Iterator[None]:
    """Trace inside the block without copied provenance and unread source."""
    from torch.fx.graph_module import GraphModule
    from torch.fx.traceback import NodeSource

    later = _compile_when_called(GraphModule.recompile)
    with (
        patch.object(NodeSource, "__deepcopy__", lambda self, memo: self, create=True),
        patch.object(GraphModule, "recompile", later),
    ):
        yield


@contextmanager
def fast_lowering(program: ExportedProgram) -> Iterator[None]:
    """Lower `program`, and nothing else, with ExecuTorch inside the block."""
    from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa
    from executorch.exir.pass_base import ExportPass, _ExportPassBase

    with ExitStack() as stack:
        stack.enter_context(lean_tracing())
        retrace = _retrace_if_edited(_ExportPassBase.call, ExportPass)
        stack.enter_context(patch.object(_ExportPassBase, "call", retrace))
        if not _has_pattern_operators(program):
            stack.enter_context(patch.object(bilinear_2d, "get_graphs_dict", dict))
            stack.enter_context(patch.object(sdpa, "get_graphs", list))
        yield


def _has_pattern_operators(program: ExportedProgram) -> bool:
    targets = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
    return any(part in target for target in targets for part in _PATTERN_OPERATORS)


def _retrace_if_edited(retrace: Callable[..., Any], plain: type) -> Callable[..., Any]:
    """`retrace`, skipped for a pass that edits nothing on a graph it has left before."""
    from torch.fx.passes.infra.pass_base import PassResult

    hooks = [name for name in dir(plain) if callable(getattr(plain, name))]
    hooks = [
        name
        for name in hooks
        if not name.startswith("__") and name not in ("call", "requires", "ensures")
    ]
    left_as: WeakKeyDictionary[fx.Graph, int] = WeakKeyDictionary()

    def call(self: Any, graph_module: fx.GraphModule) -> Any:
        edits = any(getattr(type(self), h) is not getattr(plain, h) for h in hooks)
        if not edits and left_as.get(graph_module.graph) == _fingerprint(graph_module.graph):
            return PassResult(graph_module, True)
        result = retrace(self, graph_module)
        left_as[result.graph_module.graph] = _fingerprint(result.graph_module.graph)
        return result

    return call


def _fingerprint(graph: fx.Graph) -> int:
    return hash(tuple((n.name, n.op, n.target, repr(n.args), repr(n.kwargs)) for n in graph.nodes))


def _compile_when_called(compile_now: Callable[..., Any]) -> Callable[..., Any]:
    """`GraphModule.recompile` put off until the graph is called."""
    from torch.fx.graph import _PyTreeCodeGen

    def first_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        compile_now(self)
        return type(self).forward(self, *args, **kwargs)

    def compile_later(self: Any) -> Any:
        cls = type(self)
        if "_wrapped_call" not in vars(cls):
            return compile_now(self)  # the first time also sets up how it is called
        codegen = self.graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self._in_spec = codegen.pytree_info.in_spec
            self._out_spec = codegen.pytree_info.out_spec
        cls.forward = first_call
        return None

    return compile_later
