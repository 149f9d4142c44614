"""Rewrites of the captured program (`torch.export`), chosen by each target.

A rewrite edits the program it is given and returns the number of places it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.export import ExportedProgram

from .epsilons import normal_epsilons
from .reciprocals import reciprocals_to_divisions
from .splits import splits_to_slices
from .tanh_gelu import tanh_gelu_written_out

__all__ = [
    "NORMAL_EPSILONS",
    "RECIPROCALS_TO_DIVISIONS",
    "SPLITS_TO_SLICES",
    "TANH_GELU",
    "Rewrite",
    "apply",
]


@dataclass(frozen=True)
class Rewrite:
    """A named edit of a program."""

    name: str
    edit: Callable[[ExportedProgram], int]


NORMAL_EPSILONS = Rewrite("normal-epsilons", normal_epsilons)
SPLITS_TO_SLICES = Rewrite("splits-to-slices", splits_to_slices)
RECIPROCALS_TO_DIVISIONS = Rewrite("reciprocals-to-divisions", reciprocals_to_divisions)
TANH_GELU = Rewrite("tanh-gelu-written-out", tanh_gelu_written_out)


def apply(program: ExportedProgram, rewrites: Sequence[Rewrite]) -> dict[str, int]:
    """Apply `rewrites` in order; returns the places changed by each."""
    return {rewrite.name: rewrite.edit(program) for rewrite in rewrites}
