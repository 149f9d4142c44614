"""Which operations of an ML Program stay in fp32 where all others become fp16.

coremltools asks about every operation while it casts. One that is kept leaves its result in fp32;
those that read it must compute in fp32 too, or the result would be rounded on its way to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

_ROUNDED = "_to_fp16"
"""coremltools' suffix of a value that was cast, the network's input for example."""


def becomes_half(kept: Collection[str]) -> Callable[[Any], bool]:
    """A selector for `FP16ComputePrecision`.

    Args:
        kept: names of operations at the conversion, as `half_precision` ranks them.
    """
    names = frozenset(kept)

    def select(operation: Any) -> bool:
        read = [v for given in operation.inputs.values() for v in _values(given)]
        makers = {variable.op.name for variable in read if variable.op is not None}
        rounded = {variable.name + _ROUNDED for variable in read}
        return not names & ({operation.name} | makers | rounded)

    return select


def _values(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]
