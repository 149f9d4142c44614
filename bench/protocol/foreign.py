"""Sessions of what an older version or another tool measured: what they lack, and names made fit.

Nothing is invented: what was not told is null, `unknown`, or named by a `Lack`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from care_mobile.frozen import MAX_NAME
from care_mobile.text import shortened, visible

from .base import MAX_DETAIL, MAX_NS, Contract
from .events import End, Event, Reading
from .record import Closed, Landed, Launched, RoundStatus, Session, SessionOpened, Summary, fold

if TYPE_CHECKING:
    from .plan import Plan

UNKNOWN = "unknown"
MOST_READINGS = 256
E = TypeVar("E", bound=Event)


class Lack(str, Enum):
    """What is not in a record because whoever measured did not tell. `WORDS` has it in words."""

    NO_ROUNDS = "no-rounds"
    NO_SAMPLES = "no-samples"
    ONE_NUMBER = "one-number"
    AVERAGED = "averaged"
    NO_ANSWERS = "no-answers"
    NO_CONTENT = "no-content"
    NO_CPU_TIME = "no-cpu-time"
    NO_LOAD_TIME = "no-load-time"
    NO_TIMES = "no-times"
    NO_WARM_UP = "no-warm-up"
    NO_MACHINE = "no-machine"
    NO_OS_BUILD = "no-os-build"
    NO_ENGINE_VERSION = "no-engine-version"
    NO_UNIT = "no-unit"
    NO_THREADS = "no-threads"
    NO_DATE = "no-date"
    OTHER_BUNDLES = "other-bundles"


WORDS: dict[Lack, str] = {
    Lack.NO_ROUNDS: "loaded once: how much it differs from load to load is not known",
    Lack.NO_SAMPLES: "the tool kept a summary, not the inferences",
    Lack.ONE_NUMBER: "one number without any spread",
    Lack.AVERAGED: "each sample is a mean of several inferences",
    Lack.NO_ANSWERS: "whether the answers were right was not looked at",
    Lack.NO_CONTENT: "which files were measured is not known, only their name",
    Lack.NO_CPU_TIME: "whether the machine was busy with something else cannot be told",
    Lack.NO_LOAD_TIME: "how long loading took is not known",
    Lack.NO_TIMES: "when the inferences ran is not known: they are put one after the other",
    Lack.NO_WARM_UP: "whether it was warm is not known",
    Lack.NO_MACHINE: "the device is not described",
    Lack.NO_OS_BUILD: "the build of the system is not known",
    Lack.NO_ENGINE_VERSION: "the version of the engine is not known",
    Lack.NO_UNIT: "what executed it is not known",
    Lack.NO_THREADS: "how many threads ran it is not known",
    Lack.NO_DATE: "when it was measured is not known: the date is the file's",
    Lack.OTHER_BUNDLES: "it was measured together with others, whose records are not here",
}


def name_of(text: str | None) -> str:
    """`text` as a name: one line of what is seen."""
    plain = " ".join(visible(text or "").split())
    return shortened(plain, MAX_NAME) or UNKNOWN


def code_of(text: str | None) -> str:
    """`text` as a code: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", (text or "").lower()).strip("-")[:64].strip("-") or UNKNOWN


def id_of(text: str) -> str:
    """`text` as an id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:80] or UNKNOWN


def detail_of(text: str) -> str:
    return shortened(visible(text), MAX_DETAIL)


def bounded_ns(value: float) -> int:
    """Nanoseconds within 64 bits.

    Raises:
        ValueError: for what is no time: not finite, negative or beyond.
    """
    if not 0 <= value <= MAX_NS:  # also false for NaN
        raise ValueError(f"{value} is no time in nanoseconds")
    return round(value)


class LaunchLines:
    """The lines of one launch; counts them and keeps their clock from going back."""

    def __init__(self, number: int, launch: str, at: str) -> None:
        self._launched = Launched(round=number, launch=launch, at=at)
        self._events: list[Contract] = []
        self._at_ns = 0

    def say(self, event: type[E], at_ns: int = 0, /, **fields: Any) -> None:
        """Add an event that is written at `at_ns`, or later if others were."""
        self._at_ns = max(self._at_ns, at_ns)
        self._events.append(event(n=len(self._events), at_ns=self._at_ns, **fields))

    def lines(self, status: RoundStatus, summaries: Iterable[Summary] = ()) -> list[Contract]:
        """All lines, once nothing is left to say."""
        self.say(End, events=len(self._events))
        launched = self._launched
        landed = Landed(round=launched.round, launch=launched.launch, at=launched.at, status=status)
        return [launched, *self._events, *summaries, landed]


def closing(plan: Plan, launches: Sequence[Sequence[Contract]], at: str) -> Closed:
    """The last line of a record made of these launches."""
    ends = [line for lines in launches for line in lines if isinstance(line, Landed)]
    completed = sum(end.status is RoundStatus.COMPLETED for end in ends)
    return Closed(at=at, completed=completed, planned=len(plan.rounds))


def session_of(lines: Sequence[Contract]) -> Session:
    """The session that lines from `session` to `closed` tell."""
    opened, *rest = lines
    assert isinstance(opened, SessionOpened)
    return fold(opened, rest)


def in_parts(readings: Sequence[Reading]) -> list[tuple[Reading, ...]]:
    """Readings as events can hold them."""
    return [tuple(readings[i : i + MOST_READINGS]) for i in range(0, len(readings), MOST_READINGS)]
