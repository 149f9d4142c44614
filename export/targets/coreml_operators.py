"""Operators that coremltools lacks, or gets wrong, written in others before it sees them.

coremltools knows some 450 operators of PyTorch by name. `in_core_ml_terms` decomposes every other
with PyTorch's own decompositions, again and again until none is left, and refuses what has none. It
also decomposes what coremltools takes and changes: `formulas` holds ours, with the public report
where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from care_mobile.coreml import MLPackage, Ref
from care_mobile.errors import TargetError

from .formulas import FORMULAS

_ROUNDS = 5
"""Decompositions nest; PyTorch's deepest seen here take three rounds."""

_ATEN = torch.ops.aten
_COMPOSITE = frozenset(
    {
        _ATEN.baddbmm.default,  # coremltools 9 multiplies floats by beta and alpha as integers
        _ATEN.addmm.default,  # the same
        _ATEN.cosine_similarity.default,  # refused without all four arguments
        _ATEN.nan_to_num.default,  # repeats a tensor zero times where nothing is NaN
        _ATEN.affine_grid_generator.default,  # fails unless a sampling follows
    }
)
"""Operators coremltools knows by name and gets wrong, which PyTorch decomposes."""

_LIMIT = 2**31
_INTEGERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
_PRODUCTS = frozenset(
    {
        _ATEN.matmul.default,
        _ATEN.mm.default,
        _ATEN.bmm.default,
        _ATEN.linear.default,
        _ATEN.einsum.default,
    }
)
_ARITHMETIC = frozenset({_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.full.default})


def in_core_ml_terms(program: ExportedProgram) -> ExportedProgram:
    """`program` in operators that coremltools converts.

    Raises:
        TargetError: if an operator is known neither there nor to PyTorch's decompositions; it
            names it.
    """
    program = program.run_decompositions(_table(program))
    for _ in range(_ROUNDS):
        left = _unknown(program)
        if not left:
            return program
        table = _table(program)
        if not any(node.target in table for node in left):
            break
        program = program.run_decompositions(table)
    left = _unknown(program)
    if left:
        names = ", ".join(dict.fromkeys(_name(node) for node in left))
        raise TargetError(
            f"Core ML has no operator for {names}, which computes {left[0].name!r}",
            "replace it in the network, or export to another target",
        )
    return program


def refuse_integers(program: ExportedProgram) -> None:
    """Refuse what Core ML's 32-bit integers cannot do, as the file says so only on a phone.

    Raises:
        TargetError: for a product of integer matrices, which does not load (apple/coremltools
            #2575), and for a constant beyond 32 bits, which coremltools cuts off.
    """
    for node in _calls(program):
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype not in _INTEGERS:
            continue
        if node.target in _PRODUCTS:
            raise TargetError(
                f"Core ML has no product of integer matrices: {_name(node)} computes {node.name!r}",
                "convert its operands with .float() before it",
            )
        if node.target in _ARITHMETIC and any(map(_is_large, node.args)):
            raise TargetError(
                f"Core ML's integers have 32 bits: {_name(node)} computes {node.name!r} with a "
                "constant beyond them",
                "use floating point, or smaller numbers",
            )
    for name, constant in (*program.state_dict.items(), *program.constants.items()):
        if (
            isinstance(constant, torch.Tensor)
            and constant.dtype is torch.int64
            and _beyond(constant)
        ):
            raise TargetError(
                f"Core ML's integers have 32 bits, and {name!r} holds numbers beyond them",
                "use floating point, or smaller numbers",
            )


def refuse_what_core_ml_miscomputes(package: MLPackage) -> None:
    """Refuse a `gather_nd` by places that are computed: seen to take the first (microsoft/
    onnxruntime PR #28598).

    Raises:
        TargetError: naming the operation.
    """
    for operation in package.main.operations:
        if operation.type == "gather_nd" and any(
            isinstance(operand, Ref) for operand in operation.inputs["indices"]
        ):
            raise TargetError(
                f"Core ML miscomputes a choice by several computed indices at once: gather_nd "
                f"{operation.name!r}",
                "choose along one dimension at a time",
            )


def _is_large(operand: object) -> bool:
    return isinstance(operand, int) and not -_LIMIT <= operand < _LIMIT


def _beyond(constant: torch.Tensor) -> bool:
    return constant.numel() > 0 and (
        _is_large(int(constant.max())) or _is_large(int(constant.min()))
    )


def _table(program: ExportedProgram) -> dict[torch._ops.OperatorBase, Callable[..., Any]]:
    """A decomposition for every operator of `program` that needs one and has one."""
    from torch._decomp import decomposition_table
    from torch.export import default_decompositions

    # All of our own: decompositions of others lead to them as well.
    table: dict[torch._ops.OperatorBase, Callable[..., Any]] = dict(FORMULAS)
    missing = _targets(_unknown(program)) | (_targets(_calls(program)) & _COMPOSITE)
    if missing:
        known = {**decomposition_table, **dict(default_decompositions().items())}
        table |= {t: known[t] for t in missing - table.keys() if t in known}
    return table


def _unknown(program: ExportedProgram) -> list[fx.Node]:
    """Calls of operators that coremltools does not know by name."""
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    return [
        node
        for node in _calls(program)
        if isinstance(node.target, torch._ops.OpOverload)
        and _TORCH_OPS_REGISTRY.get_func(node.target.name()) is None
    ]


def _calls(program: ExportedProgram) -> list[fx.Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _targets(nodes: Sequence[fx.Node]) -> set[torch._ops.OperatorBase]:
    return {n.target for n in nodes if isinstance(n.target, torch._ops.OperatorBase)}


def _name(node: fx.Node) -> str:
    target = node.target
    return (
        target.name().removeprefix("aten::").removeprefix("prims::")
        if isinstance(target, torch._ops.OpOverload)
        else str(target)
    )
