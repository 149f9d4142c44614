"""What went well once in a process of its own, remembered as empty files in the user's cache."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_MOST_REMEMBERED = 1000


def cache_folder() -> Path:
    """Where survived trials are remembered, as empty files; deleting it costs trials."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        base = Path(given)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "care-mobile" / "survived"


def remember(mark: Path) -> None:
    """Leave a mark; where that cannot be, the next trial just runs."""
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        marks = list(mark.parent.iterdir())
        if len(marks) >= _MOST_REMEMBERED:
            for other in marks:
                other.unlink(missing_ok=True)
        mark.touch()
