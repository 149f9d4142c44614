"""What a precision asks for."""

from __future__ import annotations

HALF = "fp16"
_FLOATS = frozenset({"fp32", HALF})


def is_quantized(precision: str) -> bool:
    """Whether weights (and perhaps activations) become integers or indices into a table."""
    return precision not in _FLOATS
