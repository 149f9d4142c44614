"""A pipeline's parts as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .results import Inspection, by_count, largest_first, notes


def summed(parts: Sequence[Inspection], largest: int, **known: Any) -> Inspection:
    """One inspection of parts that run one after the other; `known` are its other attributes."""
    census: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for part in parts:
        census.update(part.census)
        sizes.update(part.bytes_by_type)
    macs = [part.macs for part in parts if part.macs is not None]
    parameters = [part.parameters for part in parts if part.parameters is not None]
    layers = [
        layer.model_copy(update={"name": f"{part.name}, {layer.name}"})
        for part in parts
        for layer in part.layers
    ]
    return Inspection(
        operations=census.total(),
        operations_at_least=any(part.operations_at_least for part in parts),
        census=by_count(census),
        parameters=sum(parameters) if parameters else None,
        parameters_at_least=any(p.parameters_at_least or p.parameters is None for p in parts),
        parameters_note=_of(parts, "parameters_note"),
        macs=sum(macs) if macs else None,
        macs_at_least=any(part.macs_at_least or part.macs is None for part in parts),
        macs_note=_of(parts, "macs_note"),
        bytes_by_type=by_count(sizes),
        layers=largest_first(layers, largest),
        parts=tuple(parts),
        **known,
    )


def _of(parts: Sequence[Inspection], attribute: str) -> str:
    found = [(part.name, getattr(part, attribute)) for part in parts]
    return notes(*(f"{name}: {note}" for name, note in found if note))
