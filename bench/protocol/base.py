"""Scalars and limits of the protocol.

Whole numbers only, each within 64 bits; times are integer nanoseconds; dates are whole seconds in
UTC. A key that a reader does not know is ignored: a minor version adds, it changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from care_mobile.frozen import Count, Frozen, Name
from care_mobile.text import is_line

MAJOR, MINOR = 2, 0
"""Of the protocol. A reader refuses another major version."""

MAX_NS = 2**63 - 1
MAX_CELLS = 256
MAX_ROUNDS = 1000
MAX_BLOCKS = 1000
MAX_ITERATIONS = 1_000_000
MAX_THREADS = 1024
MAX_CORE = 1023
MAX_FILES = 10_000
MAX_RANK = 16
MAX_DETAIL = 2000
MAX_LINE_BYTES = 64 * 2**20
MAX_ROUND_BYTES = 2**29
MAX_LINES = 1_000_000
MAX_LISTS = 1_000_000
MAX_COMMAS = 20_000_000
MAX_LINE_COLONS = 100_000
"""Of one launch: what bytes become in memory is bounded by what they say, not by their number."""

__all__ = ["Count", "Name"]


class Contract(Frozen):
    """Base of all that travels: plain, strict, immutable."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


def _relative(text: str) -> str:
    path = PurePosixPath(text)
    if (
        not is_line(text)
        or "\\" in text
        or path.is_absolute()
        or ".." in path.parts
        or not path.parts
        or path.as_posix() != text
    ):
        raise ValueError("a path is relative, in plain form, with / between its parts")
    return text


def _date(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    return text


Nanoseconds = Annotated[int, Field(ge=0, le=MAX_NS)]
Permille = Annotated[int, Field(ge=0, le=1_000_000)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""What a program decides on. Codes are open: one that is not known is kept and shown."""
Detail = Annotated[str, Field(max_length=MAX_DETAIL)]
"""Words for people."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RelativePath = Annotated[str, Field(max_length=1024), AfterValidator(_relative)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), AfterValidator(_date)]
CellIndex = Annotated[int, Field(ge=0, lt=MAX_CELLS)]
Samples = Annotated[tuple[Nanoseconds, ...], Field(max_length=MAX_ITERATIONS)]


def date_of(when: datetime) -> str:
    """A moment as the protocol writes it."""
    return f"{when.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
