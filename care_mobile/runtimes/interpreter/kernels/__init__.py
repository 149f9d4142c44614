"""The operators, one file per family; importing a family registers it."""

from ..registry import KERNELS
from . import activation

__all__ = ["KERNELS", "activation"]
