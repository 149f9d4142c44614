"""Limits of a tensor that a file may describe, and the element types there are."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

MAX_RANK = 16
MAX_SIDE = 2**31 - 1
MAX_ELEMENTS = 2**40
MAX_INPUT_ELEMENTS = 2**28
"""Limits of a tensor that a manifest may describe; an input is made and held here, 1 GiB in
float32."""

NUMBER_BYTES = {
    "bool": 1,
    **{f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": bits // 8 for bits in (16, 32, 64)},
}
"""Element types that inputs can have, as numpy calls them, and the bytes of one element."""

NUMBERS = frozenset(NUMBER_BYTES)

Side = Annotated[int, Field(ge=0, le=MAX_SIDE)]


def elements(shape: tuple[int | None, ...]) -> int:
    """Elements of a tensor, free dimensions taken as 1."""
    return math.prod(1 if side is None else side for side in shape)


def is_float(dtype: str) -> bool:
    """Whether numbers of an element type are real; else they are integers or truth values."""
    return dtype.startswith(("float", "bfloat"))
