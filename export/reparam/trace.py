"""From any nn.Module to a graph that passes can edit.

The front end is `torch.export`, the very one that the targets start from. `torch.fx` follows a
network's Python code instead: it loses in-place calls whose result nobody names, takes a symbol for
an argument that a default leaves out, and stops at code that looks at shapes; and what it shows is
how a network was written, so that passes have to trust the class of a module.
"""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from care_mobile.errors import ModelError

from ..eager import copied, flatten
from .base import SHAPE
from .functional import ROOT, functional
from .lifting import lifted
from .whole import mark

_HINT = (
    "write it with torch.where, or build the network so that nothing is left to decide: "
    "initialised, its flags Python values"
)


class _Root(nn.Module):
    """The network with its outputs in a flat tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.add_module(ROOT, network)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(flatten(self.get_submodule(ROOT)(x)))


def program(module: nn.Module, x: Tensor, *, dynamic_batch: bool = False) -> fx.GraphModule:
    """What `module`, in evaluation mode, computes for inputs like `x`, in ATen operators.

    Its tensors lie under `state`; see `functional`.

    Raises:
        ModelError: if `torch.export` cannot capture it.
    """
    twin = copied(module)
    mark(twin)
    return functional(exported(_Root(twin).eval(), x, dynamic_batch=dynamic_batch))


def trace(module: nn.Module, x: Tensor) -> fx.GraphModule:
    """`module` as a graph that passes can edit, in its own element types."""
    return lifted(program(module, x))


def exported(module: nn.Module, x: Tensor, *, dynamic_batch: bool = False) -> ExportedProgram:
    """`torch.export` of `module` for inputs like `x`, or for any number of them.

    Raises:
        ModelError: if it cannot be captured.
    """
    shapes = ({0: Dim("batch", min=1)},) if dynamic_batch else None
    if dynamic_batch:  # torch.export takes an example of one as a constant
        x = torch.cat((x[:1], x[:1]))
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, (x.clone(),), dynamic_shapes=shapes)
    except Exception as error:  # torch.export reports unsupported code in many types
        raise ModelError(
            f"torch.export cannot capture the network: {_reason(error)}", _HINT
        ) from error


def _reason(error: Exception) -> str:
    """What a failed capture says, in the words of the network's author."""
    text = str(error).strip()
    if "data-dependent" in text:
        return f"its code decides on the value of a tensor{_place(error)}"
    if "fake tensor in the exported program constant" in text:
        return "its code writes into a tensor past autograd (`.data`), or keeps one it computed"
    return (text or type(error).__name__).splitlines()[0]


def _place(error: Exception) -> str:
    """The line of the user's code that an error comes from, in brackets."""
    own = (Path(torch.__file__).parent, Path(__file__).parent.parent)
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.exists() and not any(path.is_relative_to(folder) for folder in own):
            place = f" ({path.name}:{frame.lineno}: {frame.line})"
    return place


class _Recorder(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            n.meta[SHAPE] = tuple(value.shape)
        return value


def run(model: fx.GraphModule, x: torch.Tensor) -> Any:
    """`model(x)`, leaving with every node the shape of its value for passes that need to know."""
    return _Recorder(model).run(x)
