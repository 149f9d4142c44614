"""What a tool's file says, before it becomes sessions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..protocol.base import MAX_ITERATIONS, MAX_ROUNDS
from ..protocol.events import Reading, Reality
from ..protocol.foreign import Lack
from ..protocol.plan import Unit
from ..protocol.reading import RecordError

NS_PER = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "sec": 1e9}
"""Nanoseconds of a unit of time."""
BYTES_PER_MB = 2**20
MAX_JSON_BYTES = 2**24
_MAX_LINES = 2_000_000
_MAX_LINE = 4096


class ForeignFileError(RecordError):
    """A file of another tool that is damaged, hostile or of a shape that is not known."""


class Source:
    """A file's content, decoded once."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        """Of the file, without its end: a model's name where the content has none."""
        self.content = content

    @cached_property
    def text(self) -> str:
        return self.content.decode("utf-8", errors="replace")

    @cached_property
    def lines(self) -> list[str]:
        """The lines, of long ones the beginning and an ellipsis; none if there are too many."""
        if self.content.count(b"\n") > _MAX_LINES:
            return []
        return [_begun(line) for line in self.text.split("\n")]

    @cached_property
    def json(self) -> Any:
        """The JSON value; None if it is none or too large."""
        if len(self.content) > MAX_JSON_BYTES:
            return None
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Figures:
    """A summary as a tool gives it, in nanoseconds; fields as in `protocol.record.Summary`."""

    what: str = "latency"
    count: int | None = None
    told: dict[str, float] = field(default_factory=dict)
    """Values by their field, `median_ns` and so on."""


@dataclass(frozen=True)
class Measured:
    """One thing that was measured in one launch. None is what the tool does not tell."""

    label: str
    engine: str
    model: str = ""
    precision: str = ""
    engine_version: str | None = None
    backend: str = ""
    asked: Unit | None = None
    ran_on: Unit | None = None
    threads: int | None = None
    warm: bool = True
    """Whether the tool warms up before it measures."""
    samples_ns: tuple[float, ...] = ()
    averaged: bool = False
    load_ns: float | None = None
    figures: tuple[Figures, ...] = ()
    placement: dict[str, int] | None = None
    failed: tuple[str, str] | None = None
    """A code, and words."""


@dataclass(frozen=True)
class ToldMachine:
    model: str | None = None
    os: str | None = None
    os_build: str | None = None
    architecture: str | None = None
    soc: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    reality: Reality = Reality.UNKNOWN


@dataclass(frozen=True)
class ToldLaunch:
    """A process of the tool."""

    measured: tuple[Measured, ...]
    readings: tuple[Reading, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """Codes and words."""


@dataclass(frozen=True)
class ToldSession:
    """What was measured on one machine."""

    launches: tuple[ToldLaunch, ...]
    machine: ToldMachine = ToldMachine()
    device: str = "unknown"
    tools: dict[str, str] = field(default_factory=dict)
    lacks: tuple[Lack, ...] = ()
    """Beside those that the other fields show."""


@dataclass(frozen=True)
class Format:
    """A kind of file. `recognise` looks at the content alone and never raises; `read` raises
    ForeignFileError, or ValueError, KeyError, TypeError, AttributeError for what does not fit."""

    name: str
    origin: str
    recognise: Callable[[Source], bool]
    read: Callable[[Source], tuple[ToldSession, ...]]


def _begun(line: str) -> str:
    return line.strip() if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"


def check_launches(count: int) -> None:
    """Before anything is made of them.

    Raises:
        ForeignFileError: if there are more than a record holds.
    """
    if count > MAX_ROUNDS:
        raise ForeignFileError(f"it has more than {MAX_ROUNDS} launches", "split the file")


def check_samples(count: int) -> None:
    """Before anything is made of them.

    Raises:
        ForeignFileError: if there are more than a burst holds.
    """
    if count > MAX_ITERATIONS:
        raise ForeignFileError(f"it has more than {MAX_ITERATIONS} inferences", "shorten it")


def number(value: object) -> float:
    """A finite number that a file holds.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is no number")
    found = float(value)  # raises OverflowError beyond its range
    if not math.isfinite(found):
        raise ValueError("a number is not finite")
    return found


def text(value: object) -> str | None:
    """A text that a file holds, numbers as they are written; None for what is none."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole(value: object, most: int) -> int | None:
    """A whole number from 1 to `most`; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        return None
    return value
