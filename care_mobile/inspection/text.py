"""Numbers and names as text. Names come from files and could hold anything."""

from __future__ import annotations

from rich.markup import escape


def megabytes(size: int) -> str:
    """In the unit that leaves up to three digits before the point."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{_divided(size, factor, 1)} {unit}"
    return f"{size} bytes"


def amount(count: int | None, at_least: bool = False) -> str:
    """A count with a letter for its magnitude."""
    if count is None:
        return "unknown"
    prefix = "at least " if at_least else ""
    for letter, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= factor:
            return f"{prefix}{_divided(count, factor, 2)} {letter}"
    return f"{prefix}{count}"


def _divided(count: int, factor: int, digits: int) -> str:
    """A rounded quotient; whole numbers have no largest one, as floats have."""
    scaled = (count * 10**digits + factor // 2) // factor
    return f"{scaled // 10**digits}.{scaled % 10**digits:0{digits}}"


def one_line(text: str, longest: int = 200) -> str:
    """What a file says, without line breaks and control characters, which could forge output."""
    return "".join(c if c.isprintable() else " " for c in text)[:longest]


def cell(text: str) -> str:
    """A name from a file as the content of a table."""
    return escape(one_line(text))
