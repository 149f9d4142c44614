"""ExecuTorch's lowering without two costs that nobody reads.

Lowering CARE-S0 re-traces some 650 operations about 40 times. Two things take a third of it:
each re-traced node deep-copies the provenance of the node it came from, a chain that grows with
every pass; and each pass generates and compiles Python source for a graph nobody calls. Inside
`fast_lowering` provenance records are shared (they are never edited) and source is generated
when a graph is first called. The written file is the same, byte for byte; a test compares.

Both are internals of torch 2.13, which this project pins. Where one is missing, lowering runs
as usual, only slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch


@contextmanager
def fast_lowering() -> Iterator[None]:
    """Apply both savings inside the block, in this process."""
    from torch.fx import traceback
    from torch.fx.graph import _PyTreeCodeGen
    from torch.fx.graph_module import GraphModule

    def share(self: Any, memo: dict[int, Any]) -> Any:
        return self

    compile_now = GraphModule.recompile

    def first_call(self: GraphModule, *args: Any, **kwargs: Any) -> Any:
        compile_now(self)
        return type(self).forward(self, *args, **kwargs)

    def compile_later(self: GraphModule) -> Any:
        cls: Any = type(self)
        if "_wrapped_call" not in vars(cls):
            return compile_now(self)  # the first time also sets up how it is called
        codegen = self.graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self._in_spec = codegen.pytree_info.in_spec
            self._out_spec = codegen.pytree_info.out_spec
        cls.forward = first_call
        return None

    with ExitStack() as stack:
        if hasattr(traceback, "NodeSource"):
            stack.enter_context(patch.object(traceback.NodeSource, "__deepcopy__", share, create=True))
        stack.enter_context(patch.object(GraphModule, "recompile", compile_later))
        yield
