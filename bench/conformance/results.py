"""What a run of the checks found."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import computed_field

from care_mobile.frozen import Frozen

from ..protocol.events import HarnessInfo


class Outcome(str, Enum):
    """`NOT_RUN`: no round could be read that would show it. Only `KEPT` is good."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_RUN = "not run"


class Check(Frozen):
    """One rule of the protocol. `detail` says where it was first broken, or why it was not run."""

    name: str
    outcome: Outcome
    detail: str = ""
    clause: str
    section: str

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.KEPT


class ConformanceResult(Frozen):
    """All checks, in the document's order."""

    version: Literal[1] = 1
    command: tuple[str, ...]
    harness: HarnessInfo | None
    launches: int
    checks: tuple[Check, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether every check is kept."""
        return all(check.passed for check in self.checks)
