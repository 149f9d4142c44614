"""Targets: formats to export to. A new one is a file here and a line below."""

from __future__ import annotations

from care_mobile.errors import UsageError, unknown_name

from .base import Lowered, LowerJob, Options, Target, Variant
from .coreml import CoreMLTarget
from .executorch import ExecuTorchTarget
from .onnx import OnnxTarget

TARGETS: tuple[Target, ...] = (CoreMLTarget(), OnnxTarget(), ExecuTorchTarget())

__all__ = [
    "TARGETS",
    "LowerJob",
    "Lowered",
    "Options",
    "Target",
    "Variant",
    "get_target",
    "precision_for",
]


def get_target(name: str) -> Target:
    """The target called `name`.

    Raises:
        UsageError: if there is none.
    """
    for target in TARGETS:
        if target.name == name:
            return target
    raise unknown_name("target", name, [*(target.name for target in TARGETS), "all"])


def precision_for(target: Target, precision: str | None) -> str:
    """`precision`, or the target's default one.

    Raises:
        UsageError: if the target does not have it.
    """
    if precision is None:
        return target.precisions[0]
    known = {p for t in TARGETS for p in t.precisions}
    if precision not in known:
        raise unknown_name("precision", precision, known)
    if precision not in target.precisions:
        has = " and ".join(target.precisions)
        raise UsageError(
            f"target {target.name} has no precision {precision}",
            f"it has {has}; export it in a call of its own, or leave --precision out",
        )
    return precision
