"""What a produced file takes and gives, read from the file, against what the exporter asked for.

The manifest says what the file says: a phone's harness allocates by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from care_mobile.bundle import TensorSpec
from care_mobile.errors import TargetError

_EXPORT_BUG = "this is a fault of the converter: leave the output out, or choose another target"


def check_interface(what: str, expected: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> None:
    """Hold a file's inputs or outputs against the exporter's.

    Element types may differ in width (an integer of 64 bits becomes one of 32), and a dimension
    may be free on either side.

    Args:
        what: "inputs" or "outputs".

    Raises:
        TargetError: if names, their order, shapes or kinds of numbers differ.
    """
    wanted, named = [spec.name for spec in expected], [spec.name for spec in found]
    if wanted != named:
        raise TargetError(
            f"the file has the {what} {_listed(named)}, not {_listed(wanted)}", _EXPORT_BUG
        )
    for want, have in zip(expected, found, strict=True):
        singular = what.removesuffix("s")
        if want.kind != have.kind:
            raise TargetError(
                f"{singular} {want.name!r} is of kind {have.kind} in the file, not {want.kind}",
                _EXPORT_BUG,
            )
        if not _shapes_agree(want, have):
            raise TargetError(
                f"{singular} {want.name!r} has shape {_shape(have)} in the file, "
                f"not {_shape(want)} as in the network",
                _EXPORT_BUG,
            )
        if is_float(want) != is_float(have):
            raise TargetError(
                f"{singular} {want.name!r} is {have.dtype} in the file, not {want.dtype}",
                _EXPORT_BUG,
            )


def _shapes_agree(want: TensorSpec, have: TensorSpec) -> bool:
    return len(want.shape) == len(have.shape) and all(
        None in (one, two) or one == two for one, two in zip(want.shape, have.shape, strict=True)
    )


def is_float(spec: TensorSpec) -> bool:
    """Whether its numbers are real; else they are integers or truth values."""
    return spec.dtype == "bfloat16" or (spec.kind != "string" and np.dtype(spec.dtype).kind == "f")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none at all"


def _shape(spec: TensorSpec) -> str:
    return "x".join("?" if side is None else str(side) for side in spec.shape) or "scalar"
