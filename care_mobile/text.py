"""Text from files and networks, made harmless for terminals and lines of a log."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Categories of Unicode that move the cursor, turn the direction of text or cannot be encoded."""


def visible(text: str) -> str:
    """`text` with what is not seen but acts (escape sequences, turned directions, lone surrogates)
    written out as in `\\x1b`; line breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def is_line(text: str) -> bool:
    """Whether nothing in `text` is hidden or breaks the line."""
    return text == visible(text) and not {"\n", "\t"} & set(text)


def as_line(text: str) -> str:
    """`text` as something that `is_line` holds of: line breaks and tabs are written out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def shortened(text: str, length: int = 80) -> str:
    """`text`, or its beginning and end with an ellipsis between them; `length` characters."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[head + 1 - length :]}"


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
