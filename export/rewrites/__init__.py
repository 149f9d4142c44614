"""Rewrites of the captured program (`torch.export`), chosen by each target.

A rewrite edits the program it is given and returns the number of places it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.export import ExportedProgram

from .average_pools import average_pools, own_divisors
from .batched_products import batched_products
from .broadcast_constants import constants_beside_maps
from .depthwise_kernels import depthwise_kernels_in_parts
from .elu import elu_plus_one
from .epsilons import normal_epsilons
from .expansions import expansions_left_out
from .layer_norms import layer_norms_written_out
from .max_pools import adaptive_maxima, max_pools
from .means import means_over_maps
from .memory_formats import memory_formats_left_out
from .own_results import own_results
from .paddings import paddings_in_pieces
from .reciprocals import reciprocals_to_divisions, roots_to_divisions
from .resampling import adaptive_averages, resampling
from .splits import splits_to_slices
from .tanh_gelu import tanh_gelu_written_out
from .transposed_convolutions import output_padding

__all__ = [
    "ADAPTIVE_AVERAGES",
    "ADAPTIVE_MAXIMA",
    "AVERAGE_POOLS",
    "BATCHED_PRODUCTS",
    "CONSTANTS_BESIDE_MAPS",
    "DEPTHWISE_KERNELS_IN_PARTS",
    "ELU_PLUS_ONE",
    "EXPANSIONS_LEFT_OUT",
    "LAYER_NORMS_WRITTEN_OUT",
    "MAX_POOLS",
    "MEANS_OVER_MAPS",
    "MEMORY_FORMATS_LEFT_OUT",
    "NORMAL_EPSILONS",
    "OUTPUT_PADDING",
    "OWN_DIVISORS",
    "OWN_RESULTS",
    "PADDINGS_IN_PIECES",
    "RECIPROCALS_TO_DIVISIONS",
    "RESAMPLING",
    "ROOTS_TO_DIVISIONS",
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


AVERAGE_POOLS = Rewrite("average-pools", average_pools)
BATCHED_PRODUCTS = Rewrite("batched-products", batched_products)
CONSTANTS_BESIDE_MAPS = Rewrite("constants-beside-maps", constants_beside_maps)
DEPTHWISE_KERNELS_IN_PARTS = Rewrite("depthwise-kernels-in-parts", depthwise_kernels_in_parts)
ELU_PLUS_ONE = Rewrite("elu-plus-one", elu_plus_one)
EXPANSIONS_LEFT_OUT = Rewrite("expansions-left-out", expansions_left_out)
LAYER_NORMS_WRITTEN_OUT = Rewrite("layer-norms-written-out", layer_norms_written_out)
ADAPTIVE_AVERAGES = Rewrite("adaptive-averages", adaptive_averages)
ADAPTIVE_MAXIMA = Rewrite("adaptive-maxima", adaptive_maxima)
OWN_DIVISORS = Rewrite("own-divisors", own_divisors)
MAX_POOLS = Rewrite("max-pools", max_pools)
MEANS_OVER_MAPS = Rewrite("means-over-maps", means_over_maps)
MEMORY_FORMATS_LEFT_OUT = Rewrite("memory-formats-left-out", memory_formats_left_out)
NORMAL_EPSILONS = Rewrite("normal-epsilons", normal_epsilons)
OUTPUT_PADDING = Rewrite("output-padding", output_padding)
OWN_RESULTS = Rewrite("own-results", own_results)
PADDINGS_IN_PIECES = Rewrite("paddings-in-pieces", paddings_in_pieces)
RESAMPLING = Rewrite("resampling", resampling)
ROOTS_TO_DIVISIONS = Rewrite("roots-to-divisions", roots_to_divisions)
SPLITS_TO_SLICES = Rewrite("splits-to-slices", splits_to_slices)
RECIPROCALS_TO_DIVISIONS = Rewrite("reciprocals-to-divisions", reciprocals_to_divisions)
TANH_GELU = Rewrite("tanh-gelu-written-out", tanh_gelu_written_out)


def apply(program: ExportedProgram, rewrites: Sequence[Rewrite]) -> dict[str, int]:
    """Apply `rewrites` in order; returns the places changed by each."""
    return {rewrite.name: rewrite.edit(program) for rewrite in rewrites}
