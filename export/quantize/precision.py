"""What a precision asks for."""

from __future__ import annotations

_FLOATS = frozenset({"fp32", "fp16"})


def is_quantized(precision: str) -> bool:
    """Whether weights (and perhaps activations) become integers or indices into a table."""
    return precision not in _FLOATS
