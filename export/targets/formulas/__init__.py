"""What coremltools 9 takes for something else, in operators that it takes as they are meant.

Each formula has its operator's signature and gives `NotImplemented` where the operator may stay.
The reports named are of apple/coremltools where they name no other repository.
"""

from . import arithmetic, choices, curves, normalization, places, products
from .registry import FORMULAS

__all__ = ["FORMULAS", "arithmetic", "choices", "curves", "normalization", "places", "products"]
