"""What a user may choose when a file is inspected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import UsageError

Shape = tuple[int, ...]
_LARGEST = 2**31 - 1
"""The longest axis that any of the runtimes can hold."""


@dataclass(frozen=True)
class Options:
    """See `inspect`."""

    largest: int = 10
    with_plan: bool = False
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    function: str | None = None


def parse_shapes(texts: Iterable[str]) -> dict[str, Shape]:
    """`NAME=1x3x224x224`, each for one input.

    Raises:
        UsageError: if one is not of that form, or an input is given twice.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, separator, sizes = text.rpartition("=")
        parts = sizes.split("x") if sizes else []
        valid = all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts)
        if not separator or not name or not parts or not valid:
            raise UsageError(f"--input-shape {text!r} is no shape", "write it as NAME=1x3x224x224")
        shape = tuple(map(int, parts))
        if not all(0 < size <= _LARGEST for size in shape):
            raise UsageError(
                f"--input-shape {text!r} has a size that no network takes",
                f"give sizes from 1 to {_LARGEST}",
            )
        if name in shapes:
            raise UsageError(f"--input-shape names {name!r} twice", "give each input once")
        shapes[name] = shape
    return shapes


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises: UsageError: if a shape is given for an input that the file has not."""
    names = list(known)
    for name in given:
        if name not in names:
            raise UsageError(
                f"--input-shape names {name!r}, which is no input of this file",
                f"its inputs are {', '.join(map(repr, names)) or 'none'}",
            )


def check_shape(name: str, given: Shape, declared: Iterable[int | str | None]) -> None:
    """Raises: UsageError: if the declared shape, None or a name for a free axis, is another."""
    fixed = tuple(declared)
    same = len(fixed) == len(given) and all(
        not isinstance(size, int) or size == own for size, own in zip(fixed, given, strict=True)
    )
    if not same:
        text = "x".join("?" if not isinstance(size, int) else str(size) for size in fixed)
        own = "x".join(map(str, given))
        raise UsageError(
            f"--input-shape {name}={own} does not fit: in the file it is {text or 'a scalar'}",
            "only free axes (?) can be given a size",
        )
