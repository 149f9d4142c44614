"""Numbers and names as text. Names come from files and could hold anything."""

from __future__ import annotations

from rich.markup import escape


def megabytes(size: int) -> str:
    """In the unit that leaves up to three digits before the point."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def amount(count: int | None) -> str:
    """A count with a letter for its magnitude."""
    if count is None:
        return "unknown"
    for letter, factor in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= factor:
            return f"{count / factor:.2f} {letter}"
    return str(count)


def one_line(text: str) -> str:
    """What a file says, without line breaks and control characters, which could forge output."""
    return "".join(c if c.isprintable() else " " for c in text)[:200]


def cell(text: str) -> str:
    """A name from a file as the content of a table."""
    return escape(one_line(text))
