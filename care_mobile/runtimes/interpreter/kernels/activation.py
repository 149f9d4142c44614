"""Activations."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("relu")
def relu(arguments: Arguments) -> AnyArray:
    return np.maximum(arguments.array("x"), 0)
