"""Files with the names of a network's classes, one per line: `--classes` and `--labels`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..frozen import MAX_NAME
from ..text import is_line, shortened

_WORDNET = re.compile(r"n\d{8}(?=\s|$)")
_ONE_PER_LINE = "one name per line, in the network's order, in UTF-8"


def read_names(path: Path, option: str) -> tuple[str, ...]:
    """The names in a file, blank lines and spaces around names left out.

    Args:
        option: that named the file, for messages.

    Raises:
        UsageError: if the file cannot be read, is empty, or names a class twice.
    """
    try:
        # Some editors begin a file with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UsageError(f"{option} {path} cannot be read: {reason}", _ONE_PER_LINE) from error
    names = tuple(line.strip().replace("\t", " ") for line in lines if line.strip())
    if not names:
        raise UsageError(f"{option} {path} is empty", _ONE_PER_LINE)
    check_names(names, f"{option} {path}")
    return names


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names of which two are equal, or one is no name.

    Raises:
        UsageError: if so.
    """
    for name in names:
        if not name.strip() or len(name) > MAX_NAME or not is_line(name):
            raise UsageError(
                f"{where}: {shortened(repr(name), 60)} is no name",
                f"one line of up to {MAX_NAME} letters, without control characters",
            )
    twice = next((name for name, uses in Counter(names).items() if uses > 1), None)
    if twice is not None:
        raise UsageError(f"{where} names {twice!r} twice", "every class needs a name of its own")


def bare(names: Sequence[str]) -> tuple[str, ...]:
    """WordNet names without the descriptions that ImageNet's lists have (`n01440764 tench, ...`).

    Other names stay as they are.
    """
    if all(_WORDNET.match(name) for name in names):
        return tuple(name[:9] for name in names)
    return tuple(names)
