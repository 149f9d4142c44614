"""Targets: formats to export to. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

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
    "check_precisions",
    "get_target",
    "precisions_for",
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


def precisions_for(target: Target, precisions: Sequence[str]) -> tuple[str, ...]:
    """Those of `precisions` that the target has, each once; its default one if none is named."""
    if not precisions:
        return target.precisions[:1]
    return tuple(p for p in dict.fromkeys(precisions) if p in target.precisions)


def check_precisions(targets: Sequence[Target], precisions: Sequence[str], every: bool) -> None:
    """Refuse a precision that no target has and, unless `every` target was meant, a target
    that has none of them.

    Raises:
        UsageError: naming the precision and the targets.
    """
    known = {p for t in TARGETS for p in t.precisions}
    for precision in precisions:
        if precision not in known:
            raise unknown_name("precision", precision, known)
        if not any(precision in target.precisions for target in targets):
            _refuse(targets, precision)
    for target in targets:
        if not every and not precisions_for(target, precisions):
            _refuse([target], " or ".join(dict.fromkeys(precisions)))


def _refuse(targets: Sequence[Target], precision: str) -> NoReturn:
    names = " and ".join(target.name for target in targets)
    has = "; ".join(f"{target.name} has {', '.join(target.precisions)}" for target in targets)
    plural = "s" if len(targets) > 1 else ""
    verb = "have" if plural else "has"
    raise UsageError(f"target{plural} {names} {verb} no precision {precision}", has)
